// What is pressed, typed and chosen beside the conversation.
import { call } from "./api.js";
import { automatic, loadLanguages } from "./settings.js";
import { askTyped, changeMode, press, reconnect, release, settings, toggle } from "./talk.js";
import { notice, told } from "./texts.js";
import { loadVoices, showStyles } from "./voices.js";

const $ = (id) => document.getElementById(id);
const hold = $("hold-button"), isPress = ({ key }) => [" ", "Enter"].includes(key);

$("talk-button").addEventListener("click", toggle);
hold.addEventListener("pointerdown", press);
for (const name of ["pointerup", "pointerleave", "blur"]) hold.addEventListener(name, release);
hold.addEventListener("keydown", (event) => isPress(event) && !event.repeat && press());
hold.addEventListener("keyup", (event) => isPress(event) && release());

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = $("ask-text").value.trim();
  $("ask-text").value = "";
  if (words) askTyped(words);
});

for (const example of document.querySelectorAll("#examples button")) example.addEventListener("click", () => askTyped(example.textContent));

function voiceChosen() {
  showStyles();
  reconnect();
}

$("mode").addEventListener("change", () => {
  hold.hidden = automatic();
  changeMode();
});
$("voice").addEventListener("change", voiceChosen);
$("voice").addEventListener("taken-back", () => (showStyles(), settings.send("voice")));
for (const name of ["style", "tool", "speed", "heard-language"]) $(name).addEventListener("change", () => settings.send(name));
for (const name of ["input", "taken-back"]) $("speed").addEventListener(name, () => (document.querySelector("output[for=speed]").textContent = Number($("speed").value).toFixed(2)));

$("clone").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [file] = $("clone-file").files, name = $("clone-name").value.trim();
  if (!file || !name || !$("clone-consent").checked) return notice("clone_needs");
  const form = new FormData();
  form.set("name", name);
  form.set("audio_sample", file);
  form.set("consent", "true");
  try {
    const voice = await (await call("v1/audio/voices", { method: "POST", body: form })).json();
    await loadVoices();
    $("voice").value = voice.id;
    notice("cloned");
    voiceChosen();
  } catch (error) {
    told(error);
  }
});

// What this gateway has, of which some is the key's.
export const load = () => Promise.all([loadVoices(), loadLanguages()]);

load();
