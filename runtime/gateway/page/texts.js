// The page's words, in files of their own: texts/en.json, texts/ar.json.

let texts = {};

export const text = (name) => texts[name] || name;

export async function useLanguage(language) {
  texts = await (await fetch(new URL(`texts/${language}.json`, import.meta.url))).json();
  document.documentElement.lang = language;
  document.documentElement.dir = language === "ar" ? "rtl" : "ltr";
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = text(node.dataset.text);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", text(node.dataset.label));
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = text(node.dataset.placeholder);
  for (const node of document.querySelectorAll("[data-value]")) node.value = text(node.dataset.value);
}

export function notice(words) {
  const node = document.getElementById("notice");
  node.textContent = words;
  node.hidden = !words;
}

export function told(error) {
  if (error.status === 401 || error.status === 403) notice(text("error_key"));
  else if (error.status === 429 || error.status === 503) notice(text("error_busy"));
  else if (error instanceof TypeError) notice(text("error_offline"));
  else notice(text("error_other") + error.message);
}
