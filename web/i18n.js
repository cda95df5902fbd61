// @ts-check
/** The words of the page.  Each language is a file in locales/; English is the reference, and what stands in index.html. */

export const LANGUAGES = { en: "English", de: "Deutsch", es: "Español", fr: "Français", ja: "日本語", zh: "中文" };
const STORED = "undegrade.language";

/** @type {Record<string, string>} */
let words = {};
/** @type {Record<string, string>} */
let english = {};
let language = "en";

/** Returns the language of the page. */
export function current() {
  return language;
}

/** Loads the chosen language, or else the first of the browser's languages that there is. */
export async function start() {
  english = words = await load("en");
  const wanted = [read(), ...navigator.languages].map((tag) => (tag ?? "").slice(0, 2).toLowerCase());
  await use(wanted.find((tag) => tag in LANGUAGES) ?? "en", false);
}

/** Changes the language; `remember` keeps it for the next visit. @param {string} tag */
export async function use(tag, remember = true) {
  try {
    words = tag === "en" ? english : await load(tag);
    language = tag;
  } catch {
    words = english; // the server is away: English is already here
    language = "en";
  }
  if (remember) write(tag);
  document.documentElement.lang = language === "zh" ? "zh-Hans" : language;
  apply(document);
}

/** @param {string} tag @returns {Promise<Record<string, string>>} */
async function load(tag) {
  const response = await fetch(new URL(`./locales/${tag}.json`, import.meta.url));
  if (!response.ok) throw new Error(`locales/${tag}.json: ${response.status}`);
  return response.json();
}

/**
 * Returns a text of the page; `{name}` is replaced by `values.name`.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const text = words[key] ?? english[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** Returns whether there is a text. @param {string} key */
export function has(key) {
  return key in english;
}

/** Returns the name of a degradation in the language of the page. @param {string} name */
export function degradation(name) {
  return has(`degradation.${name}`) ? t(`degradation.${name}`) : name;
}

/** Puts the texts into the elements of index.html. @param {ParentNode} root */
export function apply(root) {
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-i18n]"))) {
    element.textContent = t(element.dataset.i18n ?? "");
  }
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-i18n-label]"))) {
    element.setAttribute("aria-label", t(element.dataset.i18nLabel ?? ""));
  }
}

/** @param {number} value @param {Intl.NumberFormatOptions} [options] */
export function number(value, options = {}) {
  return new Intl.NumberFormat(language, options).format(value);
}

/** @param {number} share 0 to 1 */
export function percent(share) {
  const shown = share > 0 && share < 0.01 ? 0.01 : share; // "0 %" would say that there is nothing
  return number(shown, { style: "percent", maximumFractionDigits: 0 });
}

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds >= 3600) return number(seconds / 3600, { style: "unit", unit: "hour", maximumFractionDigits: 0, unitDisplay: "long" });
  if (seconds >= 90) return number(Math.ceil(seconds / 60), { style: "unit", unit: "minute", unitDisplay: "long" });
  return number(seconds < 10 ? Math.max(1, Math.round(seconds)) : Math.round(seconds), { style: "unit", unit: "second", unitDisplay: "long" });
}

/** @param {number} bytes */
export function size(bytes) {
  const [unit, value] = bytes >= 1e6 ? ["megabyte", bytes / 1e6] : ["kilobyte", bytes / 1e3];
  return number(/** @type {number} */ (value), { style: "unit", unit: /** @type {string} */ (unit), maximumFractionDigits: value < 10 ? 1 : 0 });
}

function read() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null; // the browser keeps nothing for this page
  }
}

/** @param {string} tag */
function write(tag) {
  try {
    localStorage.setItem(STORED, tag);
  } catch {
    // as above
  }
}
