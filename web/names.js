// @ts-check
/** Names of the files that the page saves. */
import { ending } from "./server.js";

/** @typedef {import("./items.js").Item} Item */

/** @param {Item} item */
export function resultName(item) {
  return `${item.name.replace(/\.[^.]*$/, "") || "photo"}-restored.${ending(item.result?.format ?? "png")}`;
}
