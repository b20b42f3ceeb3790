// Plays what is posted: {item, pcm: Int16Array of 24 kHz}. Tells how many samples of an item were played;
// after "clear" it is silent within one quantum, and the number it tells is exact.
import { Resampler } from "./resample.js";

const RATE = 24000, TOLD_EVERY = 0.05;

class Loudspeaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.reset("");
    this.port.onmessage = ({ data }) => {
      if (data.clear) {
        this.tell(true);
        this.reset("");
      } else if (data.end) this.ended = data.end === this.item;
      else this.add(data);
    };
  }

  reset(item) {
    this.item = item;
    this.pieces = [];
    this.place = this.played = this.told = this.underruns = 0;
    this.ended = this.begun = this.dry = false;
    this.resampler = new Resampler(RATE, sampleRate);
  }

  add({ item, pcm }) {
    if (item !== this.item) {
      this.tell(true);
      this.reset(item);
    }
    const samples = Float32Array.from(pcm, (sample) => sample / 32768);
    this.pieces.push(this.resampler.push(samples));
  }

  tell(cleared = false) {
    if (!this.item) return;
    this.told = this.played;
    const samples = Math.round((this.played * RATE) / sampleRate);
    this.port.postMessage({ item: this.item, samples, underruns: this.underruns, cleared, done: this.ended && !this.pieces.length });
  }

  process(_, [[output]]) {
    let filled = 0;
    while (filled < output.length && this.pieces.length) {
      const piece = this.pieces[0], part = piece.subarray(this.place, this.place + output.length - filled);
      output.set(part, filled);
      filled += part.length;
      this.place += part.length;
      if (this.place >= piece.length) {
        this.pieces.shift();
        this.place = 0;
      }
    }
    if (filled && !this.begun) {
      this.begun = true;
      this.port.postMessage({ item: this.item, sounding: currentTime });
    }
    const dry = this.begun && filled < output.length && !this.ended;
    if (dry && !this.dry) this.underruns++;
    this.dry = dry;
    this.played += filled;
    if (this.played - this.told >= TOLD_EVERY * sampleRate || (filled && filled < output.length)) this.tell();
    return true;
  }
}

registerProcessor("loudspeaker", Loudspeaker);
