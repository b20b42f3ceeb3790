// A file with its words, and captions of it.
import { call } from "./api.js";
import { notice, text, told } from "./texts.js";

const $ = (id) => document.getElementById(id);

async function transcribed(file, form) {
  const body = new FormData();
  body.set("file", file);
  body.set("model", "whisper-1");
  body.set("response_format", form);
  return call("v1/audio/transcriptions", { method: "POST", body });
}

function offer(id, words, kind) {
  const link = $(id);
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([words], { type: kind }));
}

$("transcribe-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [file] = $("transcribe-file").files;
  if (!file) return notice(text("transcribe_file"));
  const begun = performance.now();
  try {
    const { text: words, duration } = await (await transcribed(file, "verbose_json")).json();
    $("transcribe-figure").textContent = `${Math.round(performance.now() - begun)} ms / ${duration.toFixed(1)} s`;
    $("transcript").textContent = words || text("nothing_heard");
    offer("captions-vtt", await (await transcribed(file, "vtt")).text(), "text/vtt");
    offer("captions-srt", await (await transcribed(file, "srt")).text(), "application/x-subrip");
    $("captions").hidden = !words;
    notice("");
  } catch (error) {
    told(error);
  }
});
