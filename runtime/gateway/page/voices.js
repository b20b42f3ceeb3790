// The voices that this gateway has, in every list of the page.
import { call } from "./api.js";
import { text, told } from "./texts.js";

const OWN = "default"; // what the gateway calls the profile's own voice

export let voices = [];

export async function loadVoices() {
  try {
    voices = (await (await call("v1/audio/voices")).json()).data;
  } catch (error) {
    told(error);
    return;
  }
  for (const id of ["voice", "speak-voice"]) {
    const list = document.getElementById(id), before = list.value;
    const names = voices.filter(({ id: voice }) => voice !== OWN).map(({ id: voice, name }) => new Option(name || voice, voice));
    const own = new Option(text("default_voice"), "");
    own.dataset.text = "default_voice"; // the page's words may come later, or change
    list.replaceChildren(own, ...names);
    list.value = names.some((option) => option.value === before) ? before : "";
  }
  showStyles();
}

export function showStyles() {
  const chosen = voices.find(({ id }) => id === (document.getElementById("voice").value || OWN));
  const styles = chosen?.styles || [], list = document.getElementById("style"), before = list.value;
  list.replaceChildren(new Option("–", ""), ...styles.map((style) => new Option(style, style)));
  list.value = styles.includes(before) ? before : "";
  list.disabled = !styles.length;
}
