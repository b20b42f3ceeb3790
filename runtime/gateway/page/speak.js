// Any text in any voice, and how soon its first sound came.
import { json } from "./api.js";
import { audioContext } from "./audio.js";
import { text, told } from "./texts.js";
import { loadVoices } from "./voices.js";

const RATE = 24000, $ = (id) => document.getElementById(id);
let sounding = [];

export const opened = loadVoices;

$("speak-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  for (const source of sounding.splice(0)) source.stop();
  const asked = performance.now();
  try {
    const audio = await audioContext();
    const answer = await json("v1/audio/speech", {
      input: $("speak-text").value, model: "voxturn", response_format: "pcm",
      ...($("speak-voice").value ? { voice: $("speak-voice").value } : { voice: "alloy" }),
      ...($("speak-language").value ? { language: $("speak-language").value } : {}),
    });
    await play(audio, answer.body.getReader(), asked);
  } catch (error) {
    told(error);
  }
});

async function play(audio, reader, asked) {
  let at = 0, left = new Uint8Array(0);
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const bytes = new Uint8Array(left.length + value.length);
    bytes.set(left);
    bytes.set(value, left.length);
    const whole = bytes.length - (bytes.length % 2);
    left = bytes.slice(whole);
    if (!whole) continue;
    if (!at) $("speak-figure").textContent = `${text("first_audio")} ${Math.round(performance.now() - asked)} ms`;
    const pcm = new Int16Array(bytes.buffer.slice(0, whole)), buffer = audio.createBuffer(1, pcm.length, RATE);
    buffer.copyToChannel(Float32Array.from(pcm, (sample) => sample / 32768), 0);
    const source = new AudioBufferSourceNode(audio, { buffer });
    source.connect(audio.destination);
    at = Math.max(at, audio.currentTime + 0.02);
    source.start(at);
    at += buffer.duration;
    sounding.push(source);
  }
}
