// @ts-check
/** The page: connects its parts.  Each part draws what it shows of the shown photo whenever something has changed. */
import { Problem } from "./api.js";
import * as action from "./action.js";
import { Compare } from "./compare.js";
import * as controls from "./controls.js";
import { byId, make } from "./dom.js";
import * as filmstrip from "./filmstrip.js";
import * as historydialog from "./historydialog.js";
import * as i18n from "./i18n.js";
import * as intake from "./intake.js";
import { items } from "./items.js";
import { detect, restore } from "./jobs.js";
import { openKey, start as startKeys } from "./keydialog.js";
import { problemBox } from "./notices.js";
import { cropOf } from "./rectangle.js";
import * as result from "./result.js";
import { before } from "./results.js";
import { seedOf } from "./variants.js";
import { ask, askDegradations, server } from "./server.js";
import * as theme from "./theme.js";
import * as tray from "./tray.js";

/** @typedef {import("./items.js").Item} Item */

const compare = new Compare();
const acts = { restore: () => begin(items.shown), part: () => beginPart(items.shown), again, reword, key: () => openKey() };

/** @param {Item | null} item */
function begin(item) {
  if (!item) return;
  const fields = controls.fieldsOf(item);
  const seed = item.state === "done" && item.fields.crop ? seedOf(item) : ""; // the whole photo like its part
  restore(item, seed && !fields.seed ? { ...fields, seed } : fields);
}

/** @param {Item | null} item */
function beginPart(item) {
  if (item?.part) restore(item, { ...controls.fieldsOf(item), crop: cropOf(item.part) });
}

/** Sends a photo, or its part, again after its prompt was refused. @param {Record<string, string>} [more] further fields */
function reword(more = {}) {
  const item = items.shown;
  if (!item) return;
  const part = item.fields.crop && item.part ? { crop: cropOf(item.part) } : {};
  restore(item, { ...controls.fieldsOf(item), ...part, ...more });
}

/** Tries again what has failed. */
function again() {
  const item = items.shown;
  if (!item) return;
  if (item.fields.crop && item.part) beginPart(item);
  else if (item.jobId || item.detection) begin(item);
  else {
    item.state = "new";
    detect(item);
  }
}

function draw() {
  const item = items.shown;
  byId("welcome").hidden = Boolean(item);
  byId("work").hidden = !item;
  document.body.classList.toggle("working", Boolean(item));
  document.title = item ? `${item.name} – undegrade` : "undegrade";
  controls.draw(item);
  action.draw(item, acts);
  result.draw(item, acts);
  filmstrip.draw(item);
  tray.draw((open) => open.forEach(begin));
  if (!item) return;
  byId("photo-title").textContent = item.name;
  const chosen = filmstrip.chosenPass(item);
  const whole = { before: item.url, after: null, name: item.name, showable: item.showable };
  compare.show(item, item.choosing ? whole : { ...whole, before: before(item), after: chosen?.url ?? (item.result?.shown || null), afterLabel: chosen?.label });
}

/** Draws once a frame, however often something changes. */
let planned = false;
function plan() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => { planned = false; draw(); });
}

/** @param {Item} item */
async function arrive(item) {
  item.showable = await opens(item.url);
  plan();
  detect(item);
}

/** Whether the browser can show a picture. @param {string} url @returns {Promise<boolean>} */
function opens(url) {
  return new Promise((resolve) => {
    const image = new Image();
    image.onload = () => resolve(true);
    image.onerror = () => resolve(false);
    image.src = url;
  });
}

async function connect() {
  const notices = byId("notices");
  try {
    await ask();
    notices.querySelectorAll("[data-start]").forEach((/** @type {Element} */ box) => box.remove());
  } catch (error) {
    const problem = error instanceof Problem ? error : new Problem({ status: 200, code: "page", detail: String(error) });
    if (problem.status === 401) openKey(i18n.t("key.needed"));
    const retry = make("button", { type: "button", on: { click: problem.status === 401 ? () => openKey() : connect } }, i18n.t(problem.status === 401 ? "key.enter" : "again"));
    const box = problemBox(problem, retry);
    box.dataset.start = "";
    notices.replaceChildren(box);
  }
  facts();
  controls.redraw(items.shown);
}

/** Writes what the server accepts, and how long it keeps photos. */
function facts() {
  const { limits } = server;
  byId("limits").textContent = limits ? i18n.t("welcome.limits", { formats: limits.formats.map((/** @type {string} */ name) => name.toUpperCase()).join(", "), size: i18n.size(limits.max_bytes), pixels: i18n.number(limits.max_megapixels) }) : "";
  byId("privacy").textContent = limits ? i18n.t("welcome.privacy", { time: i18n.duration(limits.keep_s) }) : "";
}

/** Scrolls to the photo, if it is not in sight: on a phone, the button may be far below it. */
function reveal() {
  if (!items.shown?.result) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  byId("panel-scroll").scrollTop = 0;
  byId("photo-title").scrollIntoView({ block: "nearest", behavior: still ? "auto" : "smooth" });
}

function translate() {
  result.forget();
  compare.translate();
  facts();
  controls.redraw(items.shown);
  plan();
}

async function start() {
  await i18n.start();
  theme.start();
  startKeys(async () => { await connect(); if (items.shown?.problem?.status === 401) again(); });
  const language = byId("language");
  language.replaceChildren(...Object.entries(i18n.LANGUAGES).map(([tag, name]) => make("option", { value: tag, lang: tag, selected: tag === i18n.current() }, name)));
  language.addEventListener("change", async () => { await i18n.use(language.value); translate(); });
  byId("controls").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
  byId("controls").addEventListener("keydown", (/** @type {any} */ event) => { if (event.key === "Enter" && event.target.matches("input[type=text]")) { event.preventDefault(); document.querySelector("#restore-part, #restore")?.dispatchEvent(new MouseEvent("click")); } });
  items.addEventListener("change", plan);
  items.addEventListener("ended", (event) => { if (/** @type {any} */ (event).detail === items.shown) reveal(); });
  items.addEventListener("show", (event) => {
    const item = /** @type {CustomEvent<Item | null>} */ (event).detail;
    if (item?.state === "new") arrive(item);
    if (item && !server.degradations.length) askDegradations().then(() => controls.redraw(items.shown), () => {});
    byId("main").focus({ preventScroll: true });
  });
  intake.start();
  historydialog.start();
  compare.translate();
  draw();
  await connect();
}

start();
