// @ts-check
/** The images after each pass, as a strip in the panel: choosing one compares it with the original. */
import { byId, fill, make } from "./dom.js";
import { degradation, t } from "./i18n.js";
import { items } from "./items.js";
import { before, passImage } from "./results.js";
import { passesOf } from "./variants.js";

/** @typedef {import("./items.js").Item} Item */

const strip = () => byId("filmstrip");
/** @type {{item: Item | null, chosen: number, result: string}} `chosen`: a pass from 1; 0 is the original, -1 the result */
const state = { item: null, chosen: -1, result: "" };
let drawn = "";

/** Returns which image is compared with the original, and its label; null for the result. @param {Item} item */
export function chosenPass(item) {
  if (state.item !== item || state.chosen < 0) return null;
  const pass = state.chosen ? item.passes.get(state.chosen) : before(item);
  return pass ? { url: pass, label: state.chosen ? t("film.pass", { number: state.chosen }) : t("view.before") } : null;
}

/** @param {Item | null} item */
export function draw(item) {
  const shownResult = `${item?.jobId} ${item?.variant}`;
  if (state.item !== item || state.result !== shownResult) Object.assign(state, { item, chosen: -1, result: shownResult });
  const passes = item?.state === "done" && !item.choosing ? passesOf(item) : [];
  const images = passes.filter((/** @type {any} */ pass) => pass.image);
  strip().hidden = !item || !images.length;
  const what = `${item?.id} ${item?.jobId} ${images.length} ${state.chosen} ${item?.variant} ${document.documentElement.lang}`;
  if (strip().hidden || what === drawn) return;
  drawn = what;
  const shown = /** @type {Item} */ (item);
  const frames = passes.map((/** @type {any} */ pass, /** @type {number} */ index) => pass.image && frame(shown, index + 1, `${index + 1}. ${degradation(pass.label)}`, pass.kept ? "" : t("film.undone"))).filter(Boolean);
  fill(strip(), make("h2", { class: "group-title", id: "film-title" }, t("film.title")),
    make("ol", { "aria-labelledby": "film-title" }, frame(shown, 0, t("view.before"), ""), ...frames, frame(shown, -1, t("film.result"), "")));
}

/** @param {Item} item @param {number} number @param {string} label @param {string} note */
function frame(item, number, label, note) {
  const image = make("img", { alt: "", width: 96, height: 72 });
  const source = number > 0 ? passImage(item, number) : Promise.resolve(number ? item.result?.shown : item.showable ? before(item) : undefined);
  source.then((url) => { if (url) image.src = url; }, () => {});
  const choose = async () => {
    if (number > 0) await passImage(item, number).catch(() => {});
    state.chosen = number;
    drawn = "";
    items.changed(item);
  };
  return make("li", {}, make("button", { type: "button", class: "frame", dataset: { key: `frame-${number}` }, "aria-pressed": String(state.chosen === number), on: { click: choose } },
    image, make("span", {}, label), note && make("span", { class: "muted" }, note)));
}
