// @ts-check
/** The pictures of a job that has ended: the result, its variants, the images after the passes, and what to compare with. */
import { request } from "./api.js";
import { partOf } from "./rectangle.js";
import { canShow } from "./server.js";

/**
 * @typedef {import("./items.js").Item} Item
 * @typedef {import("./items.js").Result} Result
 */

/** Fetches the result of the item's job. @param {Item} item @param {AbortSignal} signal */
export async function fetchResult(item, signal) {
  if (item.fields.crop) await cut(item);
  item.variant = 1;
  item.result = await fetched(`jobs/${item.jobId}/result`, item.job.result.format, signal);
  item.variants.set(1, Promise.resolve(item.result));
}

/** @param {string} path @param {string} format @param {AbortSignal} [signal] @returns {Promise<Result>} */
async function fetched(path, format, signal) {
  const blob = await (await request(path, { signal, headers: { Accept: "*/*" } })).blob();
  const url = URL.createObjectURL(blob);
  const png = async () => (await request(`${path}${path.includes("?") ? "&" : "?"}format=png`, { signal })).blob();
  return { blob, url, shown: canShow(blob.type) ? url : URL.createObjectURL(await png()), format };
}

/** Returns one of several results, from 1. @param {Item} item @param {number} number @returns {Promise<Result>} */
export function variantResult(item, number) {
  const known = item.variants.get(number);
  if (known) return known;
  const made = fetched(`jobs/${item.jobId}/result?variant=${number}`, item.job.variants[number - 1].result.format);
  const { variants } = item;
  variants.set(number, made);
  made.catch(() => variants.delete(number));
  return made;
}

/** Returns the URL of the image after a pass, from 1. @param {Item} item @param {number} pass */
export async function passImage(item, pass) {
  const known = item.passes.get(pass);
  if (known) return known;
  const blob = await (await request(`jobs/${item.jobId}/passes/${pass}/image`)).blob();
  const made = URL.createObjectURL(blob);
  item.passes.set(pass, made);
  return made;
}

/** Returns the URL of what the result is compared with: the photo, or the part of it that was restored. @param {Item} item */
export function before(item) {
  return item.result && item.fields.crop && item.partUrl ? item.partUrl : item.url;
}

/** Cuts the restored part out of the photo, as the browser shows it: upright. @param {Item} item */
export async function cut(item) {
  if (item.partUrl) URL.revokeObjectURL(item.partUrl);
  item.partUrl = "";
  const { x, y, width, height } = partOf(String(item.fields.crop));
  item.part = { x, y, width, height };
  const image = new Image();
  image.src = item.url;
  try {
    await image.decode();
  } catch {
    return; // a format that the browser cannot show
  }
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  canvas.getContext("2d")?.drawImage(image, x, y, width, height, 0, 0, width, height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve));
  if (blob) item.partUrl = URL.createObjectURL(/** @type {Blob} */ (blob));
}
