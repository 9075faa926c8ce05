// Texts of the page in the reader's language; elements remember theirs, so that a switch rewrites them in place.
import en from "./messages-en.js";
import zh from "./messages-zh.js";

const MESSAGES = { en, zh };
const TAGS = { en: "en", zh: "zh-Hans" };
const REMEMBERED = "polymodal-language";
let language = chosenLanguage();

function chosenLanguage() {
  try {
    const remembered = localStorage.getItem(REMEMBERED);
    if (remembered in MESSAGES) return remembered;
  } catch {
    // storage is blocked: the browser's language it is
  }
  return (navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** The current language, "en" or "zh". */
export const currentLanguage = () => language;

/** The text of a key; `{name}` is replaced by that parameter: lists are joined, `{key}` parameters translated. */
export function t(key, params = {}) {
  const forms = MESSAGES[language][key] ?? MESSAGES.en[key] ?? key;
  const text =
    typeof forms === "string" ? forms : (forms[new Intl.PluralRules(language).select(params.count)] ?? forms.other);
  return text.replace(/\{(\w+)\}/g, (_, name) => paramText(params[name]));
}

function paramText(value) {
  if (Array.isArray(value)) {
    return new Intl.ListFormat(language, { type: "conjunction" }).format(value.map(paramText));
  }
  if (value && typeof value === "object" && value.key) return t(value.key, value.params);
  if (typeof value === "number") return value.toLocaleString(language);
  return String(value ?? "");
}

/** Make a key the text of an element, also after a switch of the language. */
export function tell(element, key, params = {}) {
  element.dataset.t = key;
  element.dataset.tParams = JSON.stringify(params);
  element.textContent = t(key, params);
}

const ATTRIBUTES = { label: "aria-label", title: "title", placeholder: "placeholder" };

/** Make a key an attribute of an element: its accessible label, title or placeholder. */
export function tellAttribute(element, name, key, params = {}) {
  element.setAttribute(`data-t-${name}`, key);
  element.dataset.tParams = JSON.stringify(params);
  element.setAttribute(ATTRIBUTES[name], t(key, params));
}

/** Rewrite all texts below an element. */
export function translate(root) {
  document.documentElement.lang = TAGS[language];
  for (const element of root.querySelectorAll("[data-t], [data-t-label], [data-t-title], [data-t-placeholder]")) {
    const params = JSON.parse(element.dataset.tParams ?? "{}");
    if (element.dataset.t) element.textContent = t(element.dataset.t, params);
    for (const [name, attribute] of Object.entries(ATTRIBUTES)) {
      const key = element.getAttribute(`data-t-${name}`);
      if (key) element.setAttribute(attribute, t(key, params));
    }
  }
}

/** Switch the language, rewrite the page and remember the choice. */
export function setLanguage(code) {
  language = code;
  try {
    localStorage.setItem(REMEMBERED, code);
  } catch {
    // storage is blocked: the choice lasts until the page is closed
  }
  translate(document);
}
