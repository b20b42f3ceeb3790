// What was said, as it is said: partial words, words that light up when they are heard, words that were not heard.

const WORD_S = 0.3; // how long a word is, until the end of its sentence is known

const list = document.getElementById("dialogue");

function entry(kind) {
  const node = document.createElement("li");
  node.className = kind;
  node.dir = "auto";
  list.append(node);
  node.scrollIntoView({ block: "nearest" });
  return node;
}

export class Question {
  constructor(words = "") {
    this.node = entry("user partial");
    this.show(words);
  }

  show(words) {
    this.node.textContent = words || "…";
  }

  whole(words) {
    if (!words) return this.node.remove();
    this.node.classList.remove("partial");
    this.show(words);
  }
}

export class Answer {
  constructor() {
    this.node = entry("assistant");
    this.words = []; // {node, start, at}: of its sentence and of itself, in seconds of the answer's audio
    this.last = 0;
    this.stopped = false;
  }

  // `start`: when these words begin, in seconds of the answer's audio; undefined: they are read, not heard.
  add(words, start) {
    if (start !== undefined) this.spread(start);
    let at = start + WORD_S * this.words.filter((word) => word.start === start).length;
    for (const word of words.split(/(?<=\s)/)) {
      const node = document.createElement(this.stopped ? "s" : "span");
      node.textContent = word;
      this.node.append(node);
      if (this.stopped) continue;
      if (start === undefined) node.className = "lit";
      else this.words.push({ node, start, at });
      at += WORD_S;
    }
    this.node.scrollIntoView({ block: "nearest" });
  }

  // The words of a sentence lie evenly between its beginning and the next one's, as far as is known.
  spread(until) {
    if (until <= this.last) return;
    const same = this.words.filter((word) => word.start === this.last);
    same.forEach((word, index) => (word.at = this.last + ((until - this.last) * index) / same.length));
    this.last = until;
  }

  ended(seconds) {
    this.spread(seconds);
  }

  heard(seconds) {
    for (const { node, at } of this.words) if (at <= seconds) node.className = "lit";
  }

  // Words that were not heard are struck out, and so are those that come too late.
  cut(seconds) {
    this.stopped = true;
    for (const { node, at } of this.words) {
      if (at <= seconds) continue;
      const struck = document.createElement("s");
      struck.textContent = node.textContent;
      node.replaceWith(struck);
    }
  }

  note(words) {
    const node = document.createElement("p");
    node.className = "tool";
    node.textContent = words;
    this.node.append(node);
  }
}
