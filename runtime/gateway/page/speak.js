// Any text in any voice, and how soon its first sound came.
import { json } from "./api.js";
import { text, told } from "./texts.js";
import { loadVoices } from "./voices.js";

const RATE = 24000, LEAD_S = 0.02, $ = (id) => document.getElementById(id);
let context, speaking; // the AbortController of what is spoken

export const opened = loadVoices;

$("speak-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  speaking?.abort();
  const { signal } = (speaking = new AbortController());
  try {
    context ??= new AudioContext();
    await context.resume();
    const asked = performance.now();
    const answer = await json("v1/audio/speech", {
      input: $("speak-text").value, model: "voxturn", response_format: "pcm",
      voice: $("speak-voice").value || "alloy",
      ...($("speak-language").value ? { language: $("speak-language").value } : {}),
    }, signal);
    await play(answer.body.getReader(), signal, (delayS) => {
      $("speak-figure").textContent = `${text("first_audio")} ${Math.round(performance.now() - asked + 1000 * delayS)} ms`;
    });
  } catch (error) {
    if (!signal.aborted) told(error);
  }
});

// `begins` hears in how many seconds the first sound comes.
async function play(reader, signal, begins) {
  let at = 0, left = new Uint8Array(0);
  for (;;) {
    const { value, done } = await reader.read();
    if (done || signal.aborted) return;
    const bytes = new Uint8Array(left.length + value.length);
    bytes.set(left);
    bytes.set(value, left.length);
    const whole = bytes.length - (bytes.length % 2);
    left = bytes.slice(whole);
    if (!whole) continue;
    const pcm = new Int16Array(bytes.buffer.slice(0, whole)), buffer = context.createBuffer(1, pcm.length, RATE);
    buffer.copyToChannel(Float32Array.from(pcm, (sample) => sample / 32768), 0);
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(context.destination);
    if (!at) begins(LEAD_S);
    at = Math.max(at, context.currentTime + LEAD_S);
    source.start(at);
    at += buffer.duration;
    signal.addEventListener("abort", () => source.stop());
  }
}
