// Captions of a transcript, cut as the gateway's own are: at a sentence's end, before two lines of 42 characters or
// seven seconds are full.
const LONGEST_S = 7, LONGEST_TEXT = 84;
const END = /[.!?…。！？؟।]["'”’»)]*$/;

// {text, start, end} of what is shown at once; `words` have their times.
export function cues(text, words) {
  const shown = [];
  let cue, from = 0; // of the cue and of what follows it, in the text
  for (const { word, start, end } of words) {
    const at = text.indexOf(word.trim(), from);
    if (at < 0) continue;
    const until = at + word.trim().length;
    const full = cue && (until - cue.from > LONGEST_TEXT || end - cue.start > LONGEST_S || END.test(cue.text));
    if (!cue || full) shown.push((cue = { from: at, start }));
    cue.text = text.slice(cue.from, until);
    cue.end = end;
    from = until;
  }
  if (cue) cue.text = text.slice(cue.from).trim();
  return shown;
}

// 3.25 s as 00:00:03.250, with the mark that a form has before the milliseconds.
function clock(seconds, mark) {
  const ms = Math.round(1000 * seconds), two = (value) => String(Math.floor(value)).padStart(2, "0");
  return `${two(ms / 3600000)}:${two((ms / 60000) % 60)}:${two((ms / 1000) % 60)}${mark}${String(ms % 1000).padStart(3, "0")}`;
}

const times = ({ start, end }, mark) => `${clock(start, mark)} --> ${clock(end, mark)}`;
const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

export const vtt = (shown) => ["WEBVTT", ...shown.map((cue) => `${times(cue, ".")}\n${escaped(cue.text)}`)].join("\n\n") + "\n";

export const srt = (shown) => shown.map((cue, index) => `${index + 1}\n${times(cue, ",")}\n${cue.text}\n`).join("\n");
