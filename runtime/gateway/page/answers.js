// The answers that are made or played: their words light up as they are heard, and of one that is cut the gateway is
// told how much was.
import { pcmOf } from "./audio.js";
import { Written } from "./dialogue.js";

const RATE = 24000;

export class Answers {
  // `changed(turn)`: an answer of it has begun to sound, or is over.
  constructor(loudspeaker, realtime, changed) {
    this.loudspeaker = loudspeaker;
    this.realtime = realtime;
    this.changed = changed;
    this.answers = new Map(); // by their items, until they are over
  }

  get any() {
    return this.answers.size > 0;
  }

  begin(item, turn) {
    const answer = { item, turn, written: new Written(), lengthS: 0, heardS: 0, underruns: 0, complete: false, cut: false, over: false };
    turn.answers.push(answer);
    this.answers.set(item, answer);
  }

  // `at`: where the words lie in the answer's audio, in seconds; undefined where they are read.
  words(item, words, at) {
    const answer = this.answers.get(item);
    if (!answer || answer.cut) return;
    answer.written.add(words, at);
    answer.turn.mark("first_clause");
  }

  // Whether it will be heard.
  audio(item, base64) {
    const answer = this.answers.get(item);
    if (!answer || answer.cut) return false;
    const pcm = pcmOf(base64);
    answer.lengthS += pcm.length / RATE;
    answer.turn.mark("first_audio");
    this.loudspeaker.play(item, pcm);
    return true;
  }

  ended(item, complete) {
    const answer = this.answers.get(item);
    if (!answer) return;
    answer.complete = complete;
    answer.written.ended();
    this.loudspeaker.end(item);
    if (!answer.lengthS) this.over(answer); // it was read
  }

  // Nothing more is to be heard of the answers that there are.
  silence() {
    for (const answer of this.answers.values()) {
      answer.cut = true;
      if (!answer.lengthS) this.over(answer); // the loudspeaker has nothing of it
    }
    this.loudspeaker.order("clear");
  }

  // The same where the loudspeaker is not asked any more how much was heard.
  drop() {
    for (const answer of this.answers.values()) this.settle(answer);
  }

  // The loudspeaker tells how far it is.
  played({ item, samples, underruns, cleared, done, sounding }) {
    const answer = this.answers.get(item);
    if (!answer) return;
    if (sounding !== undefined) {
      answer.turn.sounded(1000 * this.loudspeaker.latency);
      return this.changed(answer.turn);
    }
    answer.underruns = underruns;
    answer.heardS = samples / RATE;
    if (cleared) return this.settle(answer);
    answer.written.heard(answer.heardS);
    if (done) this.over(answer);
  }

  settle(answer) {
    const { item, heardS, lengthS } = answer, heard = answer.complete && heardS > lengthS - 0.05;
    answer.cut = true;
    answer.written.cut(heardS);
    if (lengthS && !heard)
      this.realtime.send({ type: "conversation.item.truncate", item_id: item, content_index: 0, audio_end_ms: Math.floor(1000 * Math.min(heardS, lengthS)) });
    this.over(answer);
  }

  over(answer) {
    answer.over = true;
    this.answers.delete(answer.item);
    answer.turn.counted();
    this.changed(answer.turn);
  }
}
