// Plays what is posted, one item after the other: {item, pcm: Int16Array of 24 kHz}, then {end: item}. Tells how many
// samples of an item were played; after "clear" it is silent within one quantum, and the number it tells is exact.
// "pause" and "resume": it goes on at the same sample. "end": it is not needed any more.
import { Resampler } from "./resample.js";

const RATE = 24000, TOLD_EVERY = 0.05;

class Item {
  constructor(name) {
    this.name = name;
    this.pieces = [];
    this.place = this.played = this.told = this.underruns = 0;
    this.ended = this.begun = this.dry = false;
    this.resampler = new Resampler(RATE, sampleRate);
  }

  add(pcm) {
    this.pieces.push(this.resampler.push(Float32Array.from(pcm, (sample) => sample / 32768)));
  }

  get done() {
    return this.ended && !this.pieces.length;
  }

  // Fills an output from a place on; how far.
  fill(output, filled) {
    const before = filled;
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
    this.played += filled - before;
    const dry = this.begun && filled < output.length && !this.ended;
    if (dry && !this.dry) this.underruns++;
    this.dry = dry;
    return filled;
  }
}

class Loudspeaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.items = []; // the first one sounds
    this.paused = this.over = false;
    this.port.onmessage = ({ data }) => {
      if (data === "clear") this.clear();
      else if (data === "end") this.over = true;
      else if (data === "pause" || data === "resume") this.paused = data === "pause";
      else if (data.end) this.end(data.end);
      else this.add(data);
    };
  }

  find(name) {
    return this.items.find((item) => item.name === name);
  }

  add({ item: name, pcm }) {
    if (!this.find(name)) this.items.push(new Item(name));
    this.find(name).add(pcm);
  }

  end(name) {
    const item = this.find(name);
    if (item) item.ended = true;
  }

  clear() {
    for (const item of this.items.splice(0)) this.tell(item, true);
    this.paused = false;
  }

  tell(item, cleared = false) {
    item.told = item.played;
    const samples = Math.round((item.played * RATE) / sampleRate);
    this.port.postMessage({ item: item.name, samples, underruns: item.underruns, cleared, done: item.done });
  }

  process(_, [[output]]) {
    let filled = 0;
    while (!this.paused && this.items.length && filled < output.length) {
      const [item] = this.items, before = filled;
      filled = item.fill(output, filled);
      if (filled > before && !item.begun) {
        item.begun = true;
        this.port.postMessage({ item: item.name, sounding: currentTime });
      }
      if (item.played - item.told >= TOLD_EVERY * sampleRate || item.done || (filled > before && filled < output.length)) this.tell(item);
      if (!item.done) break;
      this.items.shift();
    }
    return !this.over;
  }
}

registerProcessor("loudspeaker", Loudspeaker);
