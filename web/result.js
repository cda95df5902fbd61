// @ts-check
/** What was done with a photo, warnings, and the ways out: download, copy, code. */
import { button, byId, fill, make, save } from "./dom.js";
import { current, degradation, duration, has, percent, t } from "./i18n.js";
import { request } from "./api.js";
import { openCode } from "./codedialog.js";
import { flash } from "./flash.js";
import { resultName } from "./names.js";
import { countOf, downloadAll, passesOf, strip } from "./variants.js";

/** @typedef {import("./items.js").Item} Item */

let drawn = "";

/** @param {Item | null} item @param {{restore: () => void}} acts */
export function draw(item, acts) {
  const box = byId("result");
  box.hidden = !item?.result || item.choosing;
  const what = `${item?.id} ${item?.jobId} ${item?.state} ${item?.variant} ${document.documentElement.lang}`;
  if (!item?.result || what === drawn) return;
  drawn = what;
  const { job } = item;
  const part = item.fields.crop;
  const understood = job.understood ?? job.report?.understood;
  fill(box,
    make("h2", { class: "group-title", id: "result-title" }, t(part ? "result.part" : "result.title")),
    strip(item),
    passes(item),
    understood && make("p", { id: "understood" }, meaning(understood),
      understood.kept?.length > 0 && make("span", {}, ` ${t("result.kept", { names: understood.kept.map(degradation).join(", ") })}`),
      understood.ignored?.length > 0 && make("span", { class: "muted" }, ` ${t("result.ignored", { words: understood.ignored.join(", ") })}`)),
    ...warnings(job),
    part && make("div", { class: "acts" }, button(t("restore.whole"), acts.restore, { id: "restore", class: "primary wide" }), make("p", { class: "muted" }, t("restore.whole.about"))),
    make("div", { class: "row" },
      button(t("result.download"), () => download(item), { class: part ? "" : "primary", id: "download" }),
      "ClipboardItem" in window && button(t("result.copy"), () => copyImage(item), { id: "copy-image" }),
      button(t("result.code"), () => openCode(item), { id: "open-code" }),
      downloadAll(item)),
    make("p", { class: "muted" }, t("result.seconds", { time: duration(job.timings?.restore ?? 0) })));
}

/** Returns what the words of a prompt mean; of a guess or a free prompt, what they resemble. @param {any} understood */
function meaning(understood) {
  const { answer, repairs, language, used } = understood;
  const tongue = language && language !== current() ? ` (${new Intl.DisplayNames([current()], { type: "language" }).of(language)})` : "";
  if (used === "text") return t("result.understood", { name: degradation(understood.label), score: percent(understood.score) });
  if (answer === "nothing") return t("result.understood-nothing") + tongue;
  if (answer === "auto") return t("result.understood-auto") + tongue;
  if (answer === "repairs" && repairs.length) return t("result.understood-repairs", { names: repairs.map(degradation).join(", ") }) + tongue;
  return t("result.understood", { name: degradation(understood.label), score: percent(understood.score) });
}

/** @param {Item} item */
function passes(item) {
  const passes = passesOf(item);
  const reason = item.job.stop_reason;
  if (!passes.length) return make("p", {}, t(has(`stop.${reason}`) ? `stop.${reason}` : "result.unchanged"));
  return make("ol", { class: "passes" }, ...passes.map((/** @type {any} */ pass) => make("li", {},
    make("span", { class: "pass-name" }, degradation(pass.label)),
    make("span", { class: "muted" }, pass.probability_after === null ? percent(pass.probability_before) : `${percent(pass.probability_before)} → ${percent(pass.probability_after)}`),
    pass.kept && !isVisible(pass) && make("span", { class: "muted" }, t("pass.unseen")),
    !pass.kept && make("span", { class: "warning" }, t("film.undone")))),
    reason === "out-of-bounds" && make("li", { class: "muted" }, t("stop.out-of-bounds")));
}

/** As `is_visible` of models/restoration_report.py. @param {any} pass */
function isVisible({ max_change_levels: most, mean_change_levels: mean }) {
  return most === null || (most > 1 && (mean === null || mean >= 1 || most >= 16));
}

/** Warnings are sentences of the service, in English; some have words of ours. @param {any} job */
function warnings(job) {
  return (job.warnings ?? []).map((/** @type {any} */ warning, /** @type {number} */ index) => {
    const ours = `warning.${job.warning_codes?.[index]}`;
    if (has(ours)) return make("p", { class: "warning" }, t(ours));
    return make("p", { class: "warning", lang: "en" }, typeof warning === "string" ? warning : warning.detail ?? warning.text ?? warning.message ?? warning.code);
  });
}

/** @param {Item} item */
function download(item) {
  if (item.result) save(item.result.blob, resultName(item));
}

/** Copies the result; browsers take PNG only. @param {Item} item */
async function copyImage(item) {
  const png = () => item.result?.blob.type === "image/png" ? item.result.blob : request(`jobs/${item.jobId}/result?format=png${countOf(item) > 1 ? `&variant=${item.variant}` : ""}`).then((response) => response.blob());
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
