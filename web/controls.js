// @ts-check
/** The controls of a restoration: what was found, with on/off and strength; a prompt; a preset; the output. */
import { byId, fill, make } from "./dom.js";
import { degradation, has, number, percent, t } from "./i18n.js";
import { items } from "./items.js";
import { bars, fieldsOf as foundFields, isUsed } from "./found.js";
import { server } from "./server.js";

/** @typedef {import("./items.js").Item} Item */

/** What holds for all photos of this visit. */
export const settings = { prompt: "", preset: "auto", strength: 1, format: "", scale: 1, variants: 1, seed: "", metadata: true };
const SUGGESTIONS = ["noise", "haze", "rain", "low-light", "blur", "jpeg"];
/** @type {Set<string>} */
const open = new Set();
let drawn = "";

/** Returns the fields of `POST /restore`, without defaults. @param {Item} item @returns {Record<string, string | string[]>} */
export function fieldsOf(item) {
  /** @type {Record<string, string | string[]>} */
  const fields = {};
  const prompt = settings.prompt.trim();
  if (prompt) fields.prompt = prompt;
  else Object.assign(fields, foundFields(item));
  if (settings.strength < 1 && !fields.strength) fields.strength = String(settings.strength);
  if (settings.preset !== "auto" && server.offer.presets.includes(settings.preset)) fields.preset = settings.preset;
  if (settings.scale > 1) fields.scale = String(settings.scale);
  if (settings.variants > 1 && server.offer.variants > 1) fields.variants = String(settings.variants);
  if (settings.format) fields.format = settings.format;
  if (/^\d+$/.test(settings.seed.trim())) fields.seed = settings.seed.trim();
  if (!settings.metadata) fields.metadata = "false";
  return fields;
}

/** @param {Item | null} item */
export function draw(item) {
  const form = byId("controls");
  form.hidden = !item;
  if (!item) return;
  const what = [item.id, item.state, JSON.stringify(item.found), JSON.stringify(item.choices && Object.entries(item.choices).map(([name, { on }]) => [name, on])), Boolean(settings.prompt.trim()), JSON.stringify(server.offer), server.degradations.length, document.documentElement.lang].join("|");
  if (what === drawn) return;
  drawn = what;
  const found = bars(item, Boolean(settings.prompt.trim()), () => items.changed(item));
  const parts = [found, presets(), describe(item), more(item)].filter((part) => part !== null);
  const fresh = document.createDocumentFragment();
  fresh.append(...parts);
  for (const part of /** @type {NodeListOf<HTMLDetailsElement>} */ (fresh.querySelectorAll("details[id]"))) {
    part.open = open.has(part.id); // before `fill`, which gives the focus back: nothing in a closed part can have it
    part.addEventListener("toggle", () => (part.open ? open.add(part.id) : open.delete(part.id)));
  }
  fill(form, ...parts);
  for (const control of form.querySelectorAll("input, select, textarea, fieldset")) control.disabled ||= item.busy;
}

/** Draws again, whatever has changed. @param {Item | null} item */
export function redraw(item) {
  drawn = "";
  draw(item);
}

function presets() {
  const offered = server.offer.presets;
  if (offered.length < 2) return null;
  const option = (/** @type {string} */ name) => make("label", { title: t(`preset.${name}.about`) },
    make("input", { type: "radio", name: "preset", id: `preset-${name}`, value: name, checked: settings.preset === name, on: { change: () => { settings.preset = name; about.textContent = t(`preset.${name}.about`); } } }),
    make("span", {}, t(`preset.${name}`)));
  const about = make("p", { class: "muted", "aria-live": "polite" }, t(`preset.${settings.preset}.about`));
  const known = offered.filter((name) => ["auto", "faithful", "strong", "preview"].includes(name));
  return make("fieldset", { class: "group" }, make("legend", {}, t("preset.title")), make("div", { class: "segments wide" }, ...known.map(option)), about);
}

/** Returns words that ask for a repair; in English where only an encoder of English text reads them. @param {string} name */
export function sayOf(name) {
  if (server.words && has(`prompt.say.${name}`)) return t(`prompt.say.${name}`);
  return `remove the ${name.replace("low-light", "darkness").replace("jpeg", "compression")}`;
}

/** @param {Item} item */
function describe(item) {
  const text = make("input", {
    type: "text", id: "prompt", maxLength: 1000, value: settings.prompt, placeholder: t("prompt.placeholder"), "aria-describedby": "prompt-about",
    on: { input: () => { settings.prompt = text.value; items.changed(item); } },
  });
  const learned = server.degradations.map((entry) => entry.name).filter((name) => !has(`degradation.${name}`));
  const names = [...learned, ...SUGGESTIONS.filter((name) => server.degradations.some((entry) => entry.name === name))];
  const suggest = (/** @type {string} */ name) => make("button", {
    type: "button", class: "chip", dataset: { key: `suggest-${name}` },
    on: { click: () => { settings.prompt = text.value = sayOf(name); items.changed(item); text.focus(); } },
  }, degradation(name));
  return make("details", { class: "group", id: "describe" }, make("summary", {}, t("prompt.title")),
    make("label", { for: "prompt" }, t("prompt.label")), text,
    make("p", { class: "muted", id: "prompt-about" }, t("prompt.about")),
    make("div", { class: "row chips", role: "group", "aria-label": t("prompt.suggestions") }, ...names.map(suggest)));
}

/** @param {Item} item */
function more(item) {
  const { offer } = server;
  const select = (/** @type {string} */ id, /** @type {string} */ label, /** @type {[string, string][]} */ options, /** @type {string} */ value, /** @type {(value: string) => void} */ set) =>
    make("label", { class: "field", for: id }, make("span", {}, label), make("select", { id, on: { change: (/** @type {any} */ event) => set(event.target.value) } },
      ...options.map(([key, text]) => make("option", { value: key, selected: key === value }, text))));
  const shown = make("output", { for: "strength" }, percent(settings.strength));
  const strength = make("input", {
    type: "range", id: "strength", min: 0, max: 1, step: 0.05, value: String(settings.strength),
    on: { input: () => { settings.strength = Number(strength.value); shown.textContent = percent(settings.strength); } },
  });
  const seed = make("input", { type: "text", id: "seed", inputMode: "numeric", pattern: "\\d*", maxLength: 19, value: settings.seed, placeholder: t("more.seed-drawn"), on: { input: () => (settings.seed = seed.value) } });
  const metadata = make("input", { type: "checkbox", id: "metadata", checked: settings.metadata, on: { change: () => (settings.metadata = metadata.checked) } });
  return make("details", { class: "group", id: "more" }, make("summary", {}, t("more.title")),
    make("label", { class: "field", for: "strength" }, make("span", {}, t("more.strength")), make("span", { class: "row range" }, strength, shown)),
    isUsed(item) && offer.strengthMap && make("p", { class: "muted" }, t("more.strength-each")),
    offer.scales.length > 1 && select("scale", t("more.scale"), offer.scales.map((scale) => [String(scale), scale === 1 ? t("more.scale-none") : `${scale}×`]), String(settings.scale), (value) => (settings.scale = Number(value))),
    offer.variants > 1 && select("variants", t("more.variants"), Array.from({ length: offer.variants }, (_, index) => [String(index + 1), number(index + 1)]), String(settings.variants), (value) => (settings.variants = Number(value))),
    select("format", t("more.format"), [["", t("more.format-same")], ...offer.formats.map((name) => /** @type {[string, string]} */ ([name, name.toUpperCase()]))], settings.format, (value) => (settings.format = value)),
    make("label", { class: "field", for: "seed" }, make("span", {}, t("more.seed")), seed),
    make("label", { class: "check", for: "metadata" }, metadata, make("span", {}, t("more.metadata"))));
}

items.addEventListener("show", () => (drawn = ""));
