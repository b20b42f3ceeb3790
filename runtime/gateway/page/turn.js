// One turn: a question, the answers to it (several where the model calls tools), and what was measured.
import { draw, row } from "./waterfall.js";

const $ = (id) => document.getElementById(id);

let count = 0;

window.voxturn = { figures: [] }; // what was measured, for tests and for the curious

export class Turn {
  constructor() {
    this.answers = [];
    this.calls = []; // that wait for their results
    this.times = {}; // the page's, since the question's end; once they are told, the gateway's
    this.traced = this.done = false;
    this.responseMs = this.soundedAt = this.askedAt = null;
    this.status = "";
  }

  // The question has ended.
  asked() {
    this.askedAt = performance.now();
    this.times = { endpoint: 0 };
    $("turn-figure").textContent = "";
    draw(this.times);
  }

  // Something came of it.
  mark(name) {
    if (this.askedAt === null || this.traced || name in this.times) return;
    this.times[name] = performance.now() - this.askedAt;
    draw(this.times);
  }

  sounded(latencyMs) {
    if (this.soundedAt !== null) return;
    this.soundedAt = performance.now() + latencyMs;
    this.showSounded();
  }

  // The browser's own clock, from the question's end as the page was told it: it needs no synchronised clocks.
  get browserMs() {
    return this.soundedAt !== null && this.askedAt !== null ? this.soundedAt - this.askedAt : null;
  }

  showSounded() {
    if (this.browserMs === null || !("endpoint" in this.times)) return;
    this.times.browser = this.times.endpoint + this.browserMs;
    draw(this.times);
  }

  // A response has ended. The times of the first one begin with the question.
  responded({ status, metadata }) {
    this.status = status;
    if (this.traced || this.askedAt === null) return;
    const { times_ms, response_ms } = JSON.parse(metadata?.voxturn_trace || "{}");
    this.traced = true;
    if (!times_ms) return;
    this.times = { ...times_ms };
    this.responseMs = response_ms ?? null;
    draw(this.times);
    this.showSounded();
  }

  // It is in the table once it sounds, or will not sound any more. Whether it has come there by this.
  show(dropped) {
    const silent = this.answers.every((answer) => answer.over || !answer.lengthS);
    if (this.figure || !this.done || (this.soundedAt === null && !silent)) return false;
    this.line = document.createElement("tr");
    this.number = ++count;
    this.figure = { status: this.status, response_ms: this.responseMs, browser_ms: this.browserMs, sounded_at: this.soundedAt, underruns: 0, dropped };
    this.counted();
    $("turn-figure").textContent = this.milliseconds("");
    window.voxturn.figures.push(this.figure);
    return true;
  }

  // Underruns are counted until the answer's end.
  counted() {
    if (!this.figure) return;
    this.figure.underruns = this.answers.reduce((sum, answer) => sum + answer.underruns, 0);
    row(this.line, [this.number, this.milliseconds("–"), this.figure.underruns, this.figure.dropped]);
  }

  milliseconds(none) {
    return this.responseMs === null ? none : `${Math.round(this.responseMs)} ms`;
  }
}
