// What was said, as it is said: partial words, words that light up when they are heard, words that were not heard.
import { say } from "./texts.js";

const LAST = 3; // sentences that a screen reader may still want
const SENTENCE = /[.!?…؟。！？]["'”’»)\]]*\s*$/;

const list = document.getElementById("dialogue"), announced = document.getElementById("announced");

function element(kind, name = "") {
  const node = document.createElement(kind);
  node.className = name;
  return node;
}

// An entry with the name of who speaks, which is read and not seen. Returns it and the place of its words.
function entry(kind, who) {
  const node = element("li", kind), name = element("strong", "hidden"), words = element("p", "words");
  say(name, who);
  words.dir = "auto";
  node.append(name, words);
  list.append(node);
  node.scrollIntoView({ block: "nearest" });
  return [node, words];
}

// Whole sentences are read aloud; the entries, which grow by words, are not.
function announce(words) {
  const node = element("p");
  node.dir = "auto";
  node.textContent = words;
  announced.append(node);
  while (announced.children.length > LAST) announced.firstChild.remove();
}

// Something that was done, between what was said.
export function note(name) {
  const [, words] = entry("tool", "assistant");
  say(words, name);
  announce(words.textContent);
}

export class Question {
  constructor(words = "") {
    [this.node, this.place] = entry("user partial", "you");
    this.show(words);
  }

  show(words) {
    this.words = words;
    this.place.textContent = words || "…";
  }

  whole(words) {
    if (!words) return this.node.remove();
    this.node.classList.remove("partial");
    this.show(words);
    announce(words);
  }
}

export class Written {
  constructor() {
    [this.node, this.place] = entry("assistant", "assistant");
    this.words = []; // {node, at}: in seconds of the answer's audio
    this.sentence = "";
  }

  // `at`: when these words begin, in seconds of the answer's audio; undefined: they are read, not heard.
  add(words, at) {
    const node = element("span", at === undefined ? "lit" : "");
    node.textContent = words;
    this.place.append(node);
    if (at !== undefined) this.words.push({ node, at });
    this.node.scrollIntoView({ block: "nearest" });
    this.sentence += words;
    if (SENTENCE.test(this.sentence)) this.ended();
  }

  // There are no more words, or none of this sentence.
  ended() {
    if (this.sentence.trim()) announce(this.sentence.trim());
    this.sentence = "";
  }

  heard(seconds) {
    for (const { node, at } of this.words) if (at <= seconds) node.className = "lit";
  }

  // Words that were not heard are struck out.
  cut(seconds) {
    this.sentence = "";
    for (const { node, at } of this.words) {
      if (at < seconds) {
        node.className = "lit";
        continue;
      }
      const struck = element("s");
      struck.textContent = node.textContent;
      node.replaceWith(struck);
    }
  }
}
