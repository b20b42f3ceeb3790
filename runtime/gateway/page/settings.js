// The settings of a conversation, each sent by itself: one that the gateway refuses leaves the others as they are.
import { call } from "./api.js";
import { told } from "./texts.js";

const PAUSES = "voxturn.output_audio.pauses";
const TOOL = { type: "function", name: "time", description: "The time of day and the date", parameters: { type: "object", properties: {} } };
const THRESHOLD = 0.8;

const $ = (id) => document.getElementById(id);
const state = (control) => (control.type === "checkbox" ? "checked" : "value");

export const automatic = () => $("mode").value === "auto";

export class Settings {
  // `aloud`: whether answers are heard, not read.
  constructor(realtime, aloud) {
    this.realtime = realtime;
    this.aloud = aloud;
    this.careful = true; // until the echo canceller has learned the room
    this.sent = []; // controls, until the gateway has answered
    this.taken = new Map(); // by control: what the gateway has taken last
  }

  // What a control asks for; what is null is as it is without a choice.
  of(name) {
    switch (name) {
      case "mode":
        return { audio: { input: { turn_detection: this.detection() } } };
      case "heard-language": {
        const language = $("heard-language").value;
        return { audio: { input: { transcription: { model: "whisper-1", delay: "minimal", ...(language && { language }) } } } };
      }
      case "voice":
      case "style":
        return { audio: { output: { [name]: $(name).value || null } } };
      case "speed":
        return { audio: { output: { speed: Number($("speed").value) } } };
      case "tool":
        return { tools: $("tool").checked ? [TOOL] : [] };
    }
  }

  // Later the end of a question is told by its words, which is sooner.
  detection() {
    if (!automatic()) return null;
    return this.careful ? { type: "server_vad", threshold: THRESHOLD } : { type: "semantic_vad", eagerness: "auto" };
  }

  // A session has begun.
  sendAll() {
    this.sent = [];
    this.send("", { output_modalities: [this.aloud ? "audio" : "text"], include: [PAUSES] });
    for (const name of ["mode", "heard-language", "voice", "style", "speed", "tool"]) this.send(name);
  }

  send(name, session = this.of(name)) {
    const sent = this.realtime.sendNow({ type: "session.update", event_id: `set:${name}`, session: { type: "realtime", ...session } });
    if (sent) this.sent.push({ name, value: name && $(name)[state($(name))] });
  }

  updated() {
    const { name, value } = this.sent.shift() ?? {};
    if (name) this.taken.set(name, value);
  }

  // The control goes back to what was taken.
  refused(eventId) {
    const index = this.sent.findIndex(({ name }) => `set:${name}` === eventId);
    if (index < 0) return;
    const [{ name }] = this.sent.splice(index, 1), control = name && $(name);
    if (!control) return;
    const before = this.taken.get(name), now = control[state(control)];
    if (before !== undefined && before !== now) control[state(control)] = before;
    else if (control.type === "checkbox") control.checked = false;
    else control.value = name === "speed" ? "1" : "";
    control.dispatchEvent(new Event("taken-back"));
  }
}

export async function loadLanguages() {
  try {
    const { languages } = await (await call("v1/models")).json(), list = $("heard-language"), before = list.value;
    const names = languages.map((tag) => new Option(new Intl.DisplayNames([tag], { type: "language" }).of(tag), tag));
    list.replaceChildren(list.options[0], ...names);
    list.value = before;
  } catch (error) {
    told(error);
  }
}
