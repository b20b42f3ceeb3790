// One stream of samples at another rate: a windowed sinc of 32 taps, its phases in a table.
// Used inside the worklets, where no library is at hand.
const TAPS = 32, PHASES = 256;

export class Resampler {
  constructor(from, to) {
    this.step = from / to;
    this.at = 0; // where the next output lies, in inputs
    this.tail = new Float32Array(TAPS);
    const cut = Math.min(1, to / from) * 0.94;
    this.table = Array.from({ length: PHASES + 1 }, (_, phase) => {
      const taps = new Float32Array(TAPS);
      let sum = 0;
      for (let i = 0; i < TAPS; i++) {
        const x = i - TAPS / 2 + 1 - phase / PHASES, w = 0.5 + 0.5 * Math.cos((2 * Math.PI * x) / TAPS);
        taps[i] = (x === 0 ? cut : Math.sin(Math.PI * cut * x) / (Math.PI * x)) * w;
        sum += taps[i];
      }
      return taps.map((tap) => tap / sum);
    });
  }

  push(input) {
    if (this.step === 1) return input;
    const joined = new Float32Array(this.tail.length + input.length), out = [];
    joined.set(this.tail);
    joined.set(input, this.tail.length);
    for (; this.at + TAPS <= joined.length; this.at += this.step) {
      const first = Math.floor(this.at), taps = this.table[Math.round((this.at - first) * PHASES)];
      let sum = 0;
      for (let i = 0; i < TAPS; i++) sum += joined[first + i] * taps[i];
      out.push(sum);
    }
    const used = Math.min(Math.floor(this.at), joined.length);
    this.tail = joined.slice(used);
    this.at -= used;
    return Float32Array.from(out);
  }
}
