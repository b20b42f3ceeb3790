// What runs here: models as they are loaded, and the gateway's own figures.
import { call } from "./api.js";
import { told } from "./texts.js";

const SHOWN = /^voxturn_(sessions|slots|turns_total|underruns_total|interruptions_total|requests_total)/;

export async function opened() {
  try {
    const { data } = await (await call("v1/models")).json();
    document.querySelector("#models tbody").replaceChildren(...data.map(line));
    const metrics = await (await call("metrics")).text(), figures = document.getElementById("figures");
    figures.replaceChildren();
    for (const [, name, value] of metrics.matchAll(/^([a-z_]+(?:\{[^}]*\})?) (\S+)$/gm)) if (SHOWN.test(name)) figures.append(cell("dt", name), cell("dd", value));
  } catch (error) {
    told(error);
  }
}

function cell(kind, value) {
  const node = document.createElement(kind);
  node.textContent = value ?? "–";
  return node;
}

function line(model) {
  const row = document.createElement("tr");
  row.append(cell("td", model.id), cell("td", model.task), cell("td", [model.executor, model.precision].filter(Boolean).join(" ")), cell("td", (model.artifact_sha256 || "").slice(0, 12)), cell("td", model.licence));
  return row;
}
