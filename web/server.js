// @ts-check
/** What this server offers: its limits, degradations, and which fields `POST /restore` takes (from /openapi.json). */
import { json } from "./api.js";

/**
 * @typedef {{name: string, aliases: string[], available: boolean}} DegradationInfo
 * @typedef {{presets: string[], strengthMap: boolean, scales: number[], crop: boolean, variants: number, formats: string[], idempotency: boolean}} Offer
 */

/** `words`: prompts are taken as words, in many languages; else an encoder of English text reads them. @type {{limits: any, words: boolean, degradations: DegradationInfo[], offer: Offer}} */
export const server = {
  limits: null,
  words: false,
  degradations: [],
  offer: { presets: [], strengthMap: false, scales: [], crop: false, variants: 1, formats: ["jpeg", "png", "webp"], idempotency: false },
};

/** Asks the server.  @throws {import("./api.js").Problem} it does not answer, or wants an API key */
export async function ask() {
  server.offer = offerOf(await json("openapi.json"));
  server.limits = await json("limits");
  await askDegradations();
}

/** Asks again which degradations the workers can repair: a worker may have become ready. */
export async function askDegradations() {
  const models = await json("models");
  server.words = models.length > 0 && models.every((/** @type {any} */ model) => model.prompts === "words");
  server.degradations = (await json("degradations")).filter((/** @type {DegradationInfo} */ entry) => entry.available);
}

/**
 * Returns what a service offers, from its OpenAPI document.
 * @param {any} document
 * @returns {Offer}
 */
export function offerOf(document) {
  const route = document.paths?.["/restore"]?.post ?? {};
  const fields = resolved(document, route.requestBody?.content?.["multipart/form-data"]?.schema)?.properties ?? {};
  const json = resolved(document, route.requestBody?.content?.["application/json"]?.schema)?.properties ?? {};
  return {
    presets: choices(document, fields.preset),
    strengthMap: /"(object|additionalProperties)"/.test(JSON.stringify(json.strength ?? {})),
    scales: choices(document, fields.scale).map(Number),
    crop: "crop" in fields,
    variants: most(fields.variants),
    formats: choices(document, fields.format),
    idempotency: (route.parameters ?? []).some((/** @type {any} */ entry) => /^idempotency-key$/i.test(entry.name ?? "")),
  };
}

/** @param {any} document @param {any} schema @returns {any} */
function resolved(document, schema) {
  const name = schema?.$ref?.split("/").pop();
  return name ? document.components?.schemas?.[name] : schema;
}

/** Returns the values that a field can have. @param {any} document @param {any} schema @returns {string[]} */
function choices(document, schema) {
  const found = resolved(document, schema);
  if (!found) return [];
  if (found.enum) return found.enum.map(String);
  return [...(found.anyOf ?? []), ...(found.oneOf ?? [])].flatMap((option) => choices(document, option));
}

/** Returns the largest number that a field can have. @param {any} schema @returns {number} */
function most(schema) {
  return Math.max(schema?.maximum ?? 1, ...(schema?.anyOf ?? []).map(most));
}

/** Whether a browser can show the file itself. @param {string} type a media type */
export function canShow(type) {
  return ["image/jpeg", "image/png", "image/webp", "image/avif", "image/gif", "image/bmp"].includes(type);
}

/** How files of a format end. @param {string} format */
export function ending(format) {
  return { jpeg: "jpg", tiff: "tif" }[format] ?? format;
}
