// A file with its words and their times, and captions of it.
import { call } from "./api.js";
import { cues, srt, vtt } from "./captions.js";
import { notice, say, told } from "./texts.js";

const $ = (id) => document.getElementById(id);

async function transcribed(file) {
  const body = new FormData();
  body.set("file", file);
  body.set("model", "whisper-1");
  body.set("response_format", "verbose_json");
  body.set("timestamp_granularities[]", "word");
  return (await call("v1/audio/transcriptions", { method: "POST", body })).json();
}

function offer(id, words, kind) {
  const link = $(id);
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([words], { type: kind }));
}

// A word, and above it the second at which it begins.
function timed({ word, start }) {
  const node = document.createElement("ruby"), time = document.createElement("rt");
  time.textContent = start.toFixed(1);
  node.append(word.trim(), time);
  return node;
}

$("transcribe-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [file] = $("transcribe-file").files;
  if (!file) return notice("transcribe_file");
  const begun = performance.now();
  try {
    const { text, words, duration } = await transcribed(file);
    $("transcribe-figure").textContent = `${Math.round(performance.now() - begun)} ms / ${duration.toFixed(1)} s`;
    delete $("transcript").dataset.text;
    if (words.length) $("transcript").replaceChildren(...words.flatMap((word) => [timed(word), " "]));
    else if (text) $("transcript").textContent = text; // the times of its words are not known
    else say($("transcript"), "nothing_heard");
    const shown = cues(text, words);
    offer("captions-vtt", vtt(shown), "text/vtt");
    offer("captions-srt", srt(shown), "application/x-subrip");
    $("captions").hidden = !words.length;
    notice();
  } catch (error) {
    told(error);
  }
});
