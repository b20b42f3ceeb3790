// A turn's milliseconds, from its trace and from what the browser measured.
import { text } from "./texts.js";

const STEPS = [
  ["wait", "speech_end", "endpoint"],
  ["transcript_mark", "suspected", "transcript"],
  ["token_mark", "transcript", "first_token"],
  ["clause_mark", "first_token", "first_clause"],
  ["audio_mark", "first_clause", "first_audio"],
  ["browser_mark", "first_audio", "browser"],
];

export function draw(times) {
  const box = document.getElementById("waterfall"), known = STEPS.filter(([, from, to]) => from in times && to in times);
  const most = Math.max(1, ...Object.values(times)), least = Math.min(0, ...Object.values(times));
  const percent = (value) => (100 * (value - least)) / (most - least);
  box.replaceChildren();
  for (const [name, from, to] of known) {
    const label = document.createElement("span"), lane = document.createElement("div"), bar = document.createElement("div"), figure = document.createElement("span");
    label.textContent = text(name);
    lane.className = "lane";
    bar.className = "bar";
    bar.style.left = `${percent(Math.min(times[from], times[to]))}%`;
    bar.style.width = `${Math.abs(percent(times[to]) - percent(times[from]))}%`;
    figure.className = "figure";
    figure.textContent = `${Math.round(times[to])} ms`;
    lane.append(bar);
    box.append(label, lane, figure);
  }
}

export function row(turn, response, underruns, dropped) {
  document.getElementById("waterfall-box").hidden = false;
  const line = document.createElement("tr");
  for (const value of [turn, response === null ? "–" : `${Math.round(response)} ms`, underruns, dropped]) {
    const cell = document.createElement("td");
    cell.className = "number";
    cell.textContent = value;
    line.append(cell);
  }
  document.querySelector("#turns tbody").prepend(line);
}
