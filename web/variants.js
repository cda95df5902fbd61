// @ts-check
/** Several results of one photo, to choose from. */
import { Problem } from "./api.js";
import { button, make, save } from "./dom.js";
import { t } from "./i18n.js";
import { items } from "./items.js";
import { resultName } from "./names.js";
import { notice, titleOf } from "./notices.js";
import { variantResult } from "./results.js";
import { zip } from "./zip.js";

/** @typedef {import("./items.js").Item} Item */

/** Returns how many results a photo has. @param {Item} item @returns {number} */
export function countOf(item) {
  return item.job?.variants?.length ?? 0;
}

/** Returns the passes of the shown result. @param {Item} item @returns {any[]} */
export function passesOf(item) {
  return (item.variant > 1 ? item.job?.variants?.[item.variant - 1]?.passes : item.job?.passes) ?? [];
}

/** Returns the seed of the shown result; "" if there is none. @param {Item} item */
export function seedOf(item) {
  const drawn = item.job?.params?.seed;
  const first = String(item.fields.seed ?? drawn ?? ""); // numbers of JSON lose digits beyond 2^53, so the user's own wins
  return first && String(BigInt(first) + BigInt(item.variant - 1));
}

/** Returns the strip of results; null if there is one. @param {Item} item */
export function strip(item) {
  const count = countOf(item);
  if (count < 2) return null;
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  return make("section", { class: "filmstrip", "aria-labelledby": "variants-title" },
    make("h3", { class: "small-title", id: "variants-title" }, t("variants.choose", { count })),
    make("ol", {}, ...numbers.map((number) => make("li", {}, frame(item, number)))));
}

/** @param {Item} item @param {number} number */
function frame(item, number) {
  const image = make("img", { alt: "", width: 96, height: 72 });
  variantResult(item, number).then(({ shown }) => { image.src = shown; }, () => {});
  return make("button", {
    type: "button", class: "frame", dataset: { key: `variant-${number}` }, "aria-pressed": String(item.variant === number),
    "aria-label": t("variants.one", { number }), on: { click: () => choose(item, number) },
  }, image, make("span", {}, String(number)));
}

/** @param {Item} item @param {number} number */
async function choose(item, number) {
  const { jobId } = item;
  try {
    const result = await variantResult(item, number);
    if (item.jobId !== jobId) return; // restored again meanwhile
    item.variant = number;
    item.result = result;
    items.changed(item);
  } catch (error) {
    refused(error);
  }
}

/** Returns the button that saves all results at once. @param {Item} item */
export function downloadAll(item) {
  const count = countOf(item);
  return count > 1 && button(t("tray.download-all", { count }), () => saveAll(item), { id: "download-variants" });
}

/** @param {Item} item */
async function saveAll(item) {
  try {
    const numbers = Array.from({ length: countOf(item) }, (_, index) => index + 1);
    const files = await Promise.all(numbers.map(async (number) => ({ name: resultName(item, number), blob: (await variantResult(item, number)).blob })));
    save(await zip(files), resultName(item, 0).replace(/\.[^.]*$/, ".zip"));
  } catch (error) {
    refused(error);
  }
}

/** @param {unknown} error */
function refused(error) {
  if (!(error instanceof Problem)) throw error;
  notice("error", titleOf(error), error.hint);
}
