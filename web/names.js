// @ts-check
/** Names of the files that the page saves. */
import { ending } from "./server.js";

/** @typedef {import("./items.js").Item} Item */

/** Returns the name of a result; `variant` 0 names all of them. @param {Item} item @param {number} [variant] */
export function resultName(item, variant = item.variant) {
  const several = (item.job?.variants?.length ?? 0) > 1 && variant > 0;
  const name = item.name.replace(/\.[^.]*$/, "") || "photo";
  return `${name}${item.fields.crop ? "-part" : ""}-restored${several ? `-${variant}` : ""}.${ending(item.result?.format ?? "png")}`;
}
