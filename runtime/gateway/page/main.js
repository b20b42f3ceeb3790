// Tabs, and the language of the page.
import * as about from "./about.js";
import { key } from "./api.js";
import { load } from "./controls.js";
import * as speak from "./speak.js";
import { notice, useLanguage } from "./texts.js";
import * as transcribe from "./transcribe.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const views = { speak, transcribe, about };

function open(tab) {
  for (const each of tabs) {
    const chosen = each === tab;
    each.setAttribute("aria-selected", chosen);
    each.tabIndex = chosen ? 0 : -1;
    document.getElementById(each.getAttribute("aria-controls")).hidden = !chosen;
  }
  notice();
  views[tab.getAttribute("aria-controls")]?.opened?.();
}

for (const tab of tabs) {
  tab.addEventListener("click", () => open(tab));
  tab.addEventListener("keydown", (event) => {
    const forward = document.dir === "rtl" ? "ArrowLeft" : "ArrowRight", back = document.dir === "rtl" ? "ArrowRight" : "ArrowLeft";
    const step = { [forward]: 1, [back]: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    next.focus();
    open(next);
  });
}

for (const drop of document.querySelectorAll(".drop")) {
  const input = drop.querySelector("input");
  drop.addEventListener("dragover", (event) => (event.preventDefault(), drop.classList.add("over")));
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    input.files = event.dataTransfer.files;
  });
}

document.getElementById("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(document.getElementById("key").value.trim());
  notice();
  load();
});

const chooser = document.getElementById("page-language"), languages = [...chooser.options].map((option) => option.value);
const wished = [new URLSearchParams(location.search).get("lang"), localStorage.getItem("language"), navigator.language.split("-")[0], "en"];
chooser.value = wished.find((language) => languages.includes(language));
chooser.addEventListener("change", () => (localStorage.setItem("language", chooser.value), useLanguage(chooser.value)));
useLanguage(chooser.value);
