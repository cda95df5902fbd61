// @ts-check
/** What was found in a photo, as bars; each repair can be switched on and off, and given a strength of its own. */
import { make } from "./dom.js";
import { degradation, percent, t } from "./i18n.js";
import { server } from "./server.js";

/** @typedef {import("./items.js").Item} Item */

const SHOWN_FROM = 0.05;

/** @param {Item} item @returns {{name: string, probability: number}[]} most probable first; without "clean" */
export function damage(item) {
  return (item.found ?? []).filter((entry) => entry.name !== "clean");
}

/** The repairs that are switched on while the user has changed nothing. @param {Item} item */
function standard(item) {
  return damage(item).filter((entry) => entry.probability >= SHOWN_FROM).map((entry) => entry.name);
}

/** Whether the user has changed what is repaired. @param {Item} item */
export function isUsed(item) {
  return item.choices !== null;
}

/** @param {Item} item @param {string} name */
function choice(item, name) {
  return item.choices?.[name] ?? { on: standard(item).includes(name), strength: 1 };
}

/** @param {Item} item @param {string} name @param {Partial<{on: boolean, strength: number}>} change */
function change(item, name, change) {
  const names = damage(item).map((entry) => entry.name);
  item.choices ??= Object.fromEntries(names.map((entry) => [entry, choice(item, entry)]));
  item.choices[name] = { ...choice(item, name), ...change };
}

/** Returns `only` and `strength`, as far as the user has chosen. @param {Item} item @returns {Record<string, string | string[]>} */
export function fieldsOf(item) {
  if (!item.choices) return {};
  const names = damage(item).map((entry) => entry.name).filter((name) => choice(item, name).on);
  const same = names.length === standard(item).length && names.every((name) => standard(item).includes(name));
  const weaker = names.filter((name) => choice(item, name).strength < 1);
  const fields = /** @type {Record<string, string | string[]>} */ (same ? {} : { only: names });
  if (weaker.length && server.offer.strengthMap) fields.strength = weaker.map((name) => `${name}=${choice(item, name).strength}`).join(",");
  return fields;
}

/** Whether at least one repair is left. @param {Item} item */
export function anyOn(item) {
  return !item.choices || damage(item).some((entry) => choice(item, entry.name).on);
}

/** @param {Item} item @param {boolean} overruled by a prompt @param {() => void} redraw */
export function bars(item, overruled, redraw) {
  const title = make("h2", { class: "group-title", id: "found-title" }, t("found.title"));
  const box = (/** @type {any[]} */ ...children) => make("section", { class: "group found", "aria-labelledby": "found-title" }, title, ...children);
  if (item.state === "checking") return box(make("p", { class: "muted busy" }, t(item.sent < 1 ? "progress.sending" : "found.looking")), make("progress", { "aria-label": t("found.looking") }));
  if (!item.found) return ["new", "failed", "canceled"].includes(item.state) ? null : box(make("p", { class: "muted" }, t("found.automatic")));
  if (overruled) return box(make("p", { class: "muted" }, t("found.overruled")));
  const all = damage(item);
  const on = all.filter((entry) => standard(item).includes(entry.name) || item.choices?.[entry.name]?.on);
  const off = all.filter((entry) => !on.includes(entry) && server.degradations.some((known) => known.name === entry.name));
  return box(
    standard(item).length ? null : make("p", {}, t("found.nothing")),
    make("ul", { class: "bars" }, ...on.map((entry) => bar(item, entry, redraw))),
    off.length > 0 && make("details", { class: "others", id: "others" }, make("summary", {}, t("found.others")), make("ul", { class: "bars" }, ...off.map((entry) => bar(item, entry, redraw)))));
}

/** @param {Item} item @param {{name: string, probability: number}} entry @param {() => void} redraw */
function bar(item, entry, redraw) {
  const { name, probability } = entry;
  const { on, strength } = choice(item, name);
  const shown = degradation(name);
  const box = make("input", { type: "checkbox", id: `repair-${name}`, checked: on, on: { change: () => { change(item, name, { on: box.checked }); redraw(); } } });
  const meter = make("span", { class: "meter", "aria-hidden": "true" }, make("span", {}));
  /** @type {HTMLElement} */ (meter.firstChild).style.width = `${Math.max(1, probability * 100)}%`;
  const value = make("output", { for: `strength-${name}` }, percent(strength));
  const range = make("input", {
    type: "range", id: `strength-${name}`, min: 0.05, max: 1, step: 0.05, value: String(strength), "aria-label": t("found.strength", { name: shown }),
    on: { input: () => { change(item, name, { strength: Number(range.value) }); value.textContent = percent(Number(range.value)); } },
  });
  return make("li", { class: on ? "bar-row on" : "bar-row" },
    make("label", { for: `repair-${name}` }, box, make("span", { class: "bar-name" }, shown), make("span", { class: "bar-value" }, percent(probability)), meter),
    on && server.offer.strengthMap && make("div", { class: "row range" }, make("span", { class: "muted", "aria-hidden": "true" }, t("found.strength-short")), range, value));
}
