// The page's words, in files of their own: texts/en.json, texts/ar.json.

let texts = {};

export const text = (name) => texts[name] || name;

// Writes a text into a node, where it follows the page's language.
export function say(node, name) {
  node.dataset.text = name;
  node.textContent = text(name);
}

export async function useLanguage(language) {
  const answer = await fetch(new URL(`texts/${language}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`texts/${language}.json: ${answer.status}`);
  texts = await answer.json();
  document.documentElement.lang = language;
  document.documentElement.dir = language === "ar" ? "rtl" : "ltr";
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = text(node.dataset.text);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", text(node.dataset.label));
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = text(node.dataset.placeholder);
  // what somebody has typed stays
  for (const node of document.querySelectorAll("[data-value]")) node.defaultValue = text(node.dataset.value);
}

// Shows a text above everything, or none; `detail` are the gateway's own words, in English.
export function notice(name = "", detail = "") {
  const node = document.getElementById("notice"), words = document.createElement("span"), own = document.createElement("bdi");
  if (name) say(words, name);
  own.textContent = detail;
  node.replaceChildren(words, own);
  node.dataset.notice = name;
  node.hidden = !name;
}

// What these notices say is not so any more.
export function settled(...names) {
  if (names.includes(document.getElementById("notice").dataset.notice)) notice();
}

export function told(error) {
  if (error.status === 401 || error.status === 403) notice("error_key");
  else if (error.status === 429 || error.status === 503) notice("error_busy");
  else if (error instanceof TypeError) notice("error_unreachable");
  else notice("error_other", error.message);
}
