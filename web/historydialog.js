// @ts-check
/** The dialog of the history: open, remove, clear, and whether there is one. */
import { button, byId, fill, make } from "./dom.js";
import { current, t } from "./i18n.js";
import * as history from "./history.js";
import { Item, items } from "./items.js";
import { resume } from "./jobs.js";
import { cut } from "./results.js";
import { canShow } from "./server.js";

/** @type {string[]} */
let urls = [];

/** Keeps the photos of this visit: when a job begins, and again when it has ended. */
export function start() {
  byId("open-history").addEventListener("click", openHistory);
  byId("history-dialog").addEventListener("close", free);
  items.addEventListener("submitted", (event) => keep(/** @type {any} */ (event).detail));
  items.addEventListener("ended", (event) => { const item = /** @type {any} */ (event).detail; if (item.result) keep(item); else if (item.entry) history.remove(item.entry); });
}

/** @param {Item} item */
async function keep(item) {
  const entry = { name: item.name, when: Date.now(), jobId: item.jobId, job: item.job, fields: item.fields, original: item.file, result: item.result?.blob ?? null, format: item.result?.format ?? "" };
  const same = item.entry !== null && item.result && item.entryJob === item.jobId;
  const key = await history.keep(same ? { key: item.entry ?? undefined, ...entry } : entry);
  Object.assign(item, { entry: key, entryJob: item.jobId });
}

async function openHistory() {
  const dialog = byId("history-dialog");
  await drawDialog();
  if (!dialog.open) dialog.showModal();
}

async function drawDialog() {
  free();
  const found = await history.entries();
  const off = make("input", { type: "checkbox", id: "history-on", checked: history.wanted(), on: { change: () => history.want(off.checked) } });
  fill(byId("history-dialog"), make("h2", { id: "history-title" }, t("history.title")), make("p", { class: "muted" }, t("history.about")),
    found.length ? make("ul", { class: "history" }, ...found.map(row)) : make("p", {}, t("history.empty")),
    make("label", { class: "check", for: "history-on" }, off, make("span", {}, t("history.on"))),
    make("div", { class: "row end" },
      found.length > 0 && button(t("history.clear"), async () => { await history.clear(); await drawDialog(); byId("history-close").focus(); }, { id: "history-clear" }),
      button(t("close"), () => byId("history-dialog").close(), { id: "history-close" })));
}

/** @param {history.Entry} entry */
function row(entry) {
  const picture = URL.createObjectURL(entry.result && canShow(entry.result.type) ? entry.result : entry.original);
  urls.push(picture);
  const when = new Date(entry.when).toLocaleString(current(), { dateStyle: "medium", timeStyle: "short" });
  return make("li", {},
    make("button", { type: "button", class: "entry", on: { click: () => reopen(entry) } },
      make("img", { src: picture, alt: "", width: 80, height: 60 }), make("span", {}, entry.name, make("small", { class: "muted" }, when))),
    button("×", async () => { await history.remove(/** @type {number} */ (entry.key)); await drawDialog(); byId("history-close").focus(); }, { class: "quiet close", "aria-label": t("history.remove", { name: entry.name }) }));
}

/** @param {history.Entry} entry */
async function reopen(entry) {
  byId("history-dialog").close();
  const item = new Item(entry.original, entry.name);
  Object.assign(item, { jobId: entry.jobId, job: entry.job, fields: entry.fields, found: entry.job?.degradations ?? null, entry: entry.key, entryJob: entry.jobId });
  if (entry.result) {
    const url = URL.createObjectURL(entry.result);
    item.result = { blob: entry.result, url, shown: canShow(entry.result.type) ? url : "", format: entry.format };
    item.showable = canShow(entry.original.type);
    item.variants.set(1, Promise.resolve(item.result));
    if (item.fields.crop) await cut(item);
    item.state = "done";
  } else {
    item.state = "queued";
  }
  items.add([item]);
  if (!entry.result) resume(item, entry.jobId);
}

function free() {
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
}
