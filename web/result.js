// @ts-check
/** What was done with a photo, warnings, and the ways out: download, copy, code. */
import { button, byId, fill, make, save } from "./dom.js";
import { degradation, duration, has, percent, t } from "./i18n.js";
import { request } from "./api.js";
import { openCode } from "./codedialog.js";
import { flash } from "./flash.js";
import { resultName } from "./names.js";

/** @typedef {import("./items.js").Item} Item */

let drawn = "";

/** @param {Item | null} item */
export function draw(item) {
  const box = byId("result");
  box.hidden = !item?.result;
  const what = `${item?.id} ${item?.jobId} ${item?.state} ${document.documentElement.lang}`;
  if (!item?.result || what === drawn) return;
  drawn = what;
  const { job } = item;
  const understood = job.understood ?? job.report?.understood;
  fill(box,
    make("h2", { class: "group-title", id: "result-title" }, t("result.title")),
    passes(item),
    understood && make("p", { id: "understood" }, t("result.understood", { name: degradation(understood.label), score: percent(understood.score) }),
      understood.ignored?.length > 0 && make("span", { class: "muted" }, ` ${t("result.ignored", { words: understood.ignored.join(", ") })}`)),
    ...warnings(job),
    make("div", { class: "row" },
      button(t("result.download"), () => download(item), { class: "primary", id: "download" }),
      "ClipboardItem" in window && button(t("result.copy"), () => copyImage(item), { id: "copy-image" }),
      button(t("result.code"), () => openCode(item), { id: "open-code" })),
    make("p", { class: "muted" }, t("result.seconds", { time: duration(job.timings?.restore ?? 0) })));
}

/** @param {Item} item */
function passes(item) {
  const { passes, stop_reason: reason } = item.job;
  if (!passes.length) return make("p", {}, t(has(`stop.${reason}`) ? `stop.${reason}` : "result.unchanged"));
  return make("ol", { class: "passes" }, ...passes.map((/** @type {any} */ pass) => make("li", {},
    make("span", { class: "pass-name" }, degradation(pass.label)),
    make("span", { class: "muted" }, pass.probability_after === null ? percent(pass.probability_before) : `${percent(pass.probability_before)} → ${percent(pass.probability_after)}`),
    !pass.kept && make("span", { class: "warning" }, t("film.undone")))));
}

/** Warnings are sentences, or objects with a code and a sentence. @param {any} job */
function warnings(job) {
  return (job.warnings ?? []).map((/** @type {any} */ warning) => make("p", { class: "warning", lang: "en" }, typeof warning === "string" ? warning : warning.detail ?? warning.text ?? warning.message ?? warning.code));
}

/** @param {Item} item */
function download(item) {
  if (item.result) save(item.result.blob, resultName(item));
}

/** Copies the result; browsers take PNG only. @param {Item} item */
async function copyImage(item) {
  const png = () => item.result?.blob.type === "image/png" ? item.result.blob : request(`jobs/${item.jobId}/result?format=png`).then((response) => response.blob());
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": Promise.resolve(png()) })]);
    flash("copy-image", t("copied"));
  } catch {
    flash("copy-image", t("copy-failed"));
  }
}

/** Draws again, whatever has changed. */
export function forget() {
  drawn = "";
}
