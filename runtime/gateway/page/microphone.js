// The microphone at the device's own rate (at 24 kHz Firefox cancels no echo) to 16-bit PCM of 24 kHz, 20 ms a message.
// "end": it is not needed any more.
import { Resampler } from "./resample.js";

const RATE = 24000, FRAME = RATE / 50;

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, RATE);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.over = false;
    this.port.onmessage = () => (this.over = true);
  }

  process([input]) {
    if (!input.length) return !this.over;
    for (const sample of this.resampler.push(input[0])) {
      this.frame[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      if (this.filled === FRAME) {
        const sent = this.frame;
        this.frame = new Int16Array(FRAME);
        this.filled = 0;
        this.port.postMessage(sent, [sent.buffer]);
      }
    }
    return !this.over;
  }
}

registerProcessor("microphone", Microphone);
