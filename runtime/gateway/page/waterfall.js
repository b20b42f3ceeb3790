// A turn's milliseconds: as the page sees them come, then as the gateway has measured them.
import { say } from "./texts.js";

const STEPS = [
  ["wait", "speech_end", "endpoint"],
  ["transcript_mark", "suspected", "transcript"],
  ["token_mark", "transcript", "first_token"],
  ["clause_mark", "first_token", "first_clause"],
  ["audio_mark", "first_clause", "first_audio"],
  ["browser_mark", "first_audio", "browser"],
];

// A step whose beginning is not known follows the one before.
function known(times) {
  const bars = [];
  let last;
  for (const [name, from, to] of STEPS) {
    if (!(to in times)) continue;
    const begin = times[from] ?? last;
    last = times[to];
    if (begin !== undefined) bars.push([name, begin, last]);
  }
  return bars;
}

export function draw(times) {
  const box = document.getElementById("waterfall");
  const most = Math.max(1, ...Object.values(times)), least = Math.min(0, ...Object.values(times));
  const percent = (value) => (100 * (value - least)) / (most - least);
  document.getElementById("waterfall-box").hidden = false;
  box.replaceChildren();
  for (const [name, begin, end] of known(times)) {
    const label = document.createElement("span"), lane = document.createElement("div"), bar = document.createElement("div"), figure = document.createElement("span");
    say(label, name);
    lane.className = "lane";
    bar.className = "bar";
    bar.style.left = `${percent(Math.min(begin, end))}%`;
    bar.style.width = `${Math.abs(percent(end) - percent(begin))}%`;
    figure.className = "figure";
    figure.textContent = `${Math.round(end)} ms`;
    lane.append(bar);
    box.append(label, lane, figure);
  }
}

// A line of the table, of these values; another call writes it anew.
export function row(line, values) {
  line.replaceChildren(
    ...values.map((value) => {
      const cell = document.createElement("td");
      cell.className = "number";
      cell.textContent = value;
      return cell;
    }),
  );
  if (!line.isConnected) document.querySelector("#turns tbody").prepend(line);
}
