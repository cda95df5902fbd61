// @ts-check
/** The main button, and what happens meanwhile: sending, place in line, passes and steps; cancel; what went wrong. */
import { announce, button, byId, fill, make } from "./dom.js";
import { degradation, duration, number, percent, t } from "./i18n.js";
import { choose } from "./intake.js";
import { anyOn } from "./found.js";
import { cancel } from "./jobs.js";
import { problemBox, titleOf } from "./notices.js";
import { redraw, sayOf, settings } from "./controls.js";
import { server } from "./server.js";

/** @typedef {import("./items.js").Item} Item */

let announced = "";
/** Refusals of the file itself: to send it again would not help. */
const BAD_FILE = ["not-an-image", "unsupported-format", "bad-image", "decode-timeout", "too-large", "too-many-pixels"];

/** @param {Item | null} item @param {{restore: () => void, part: () => void, again: () => void, reword: (more?: Record<string, string>) => void, key: () => void}} acts */
export function draw(item, acts) {
  const box = byId("action");
  box.hidden = !item;
  box.toggleAttribute("data-sticky", item?.state !== "done" || item.choosing);
  if (!item) return;
  const problem = item.state === "failed" && item.problem && failure(item, acts);
  const canceled = item.state === "canceled" && make("p", { class: "muted" }, t("progress.canceled"));
  fill(box, problem || canceled, item.busy ? progress(item) : hopeless(item) ? null : main(item, acts));
  tell(item);
}

/** Whether the server can never restore the file. @param {Item} item */
function hopeless(item) {
  return item.state === "failed" && BAD_FILE.includes(item.problem?.code ?? "") && !item.fields.scale;
}

/** @param {Item} item @param {any} acts */
function failure(item, acts) {
  const problem = /** @type {import("./api.js").Problem} */ (item.problem);
  if (problem.status === 401) return problemBox(problem, button(t("key.enter"), acts.key));
  if (problem.code === "prompt-not-understood") return misunderstood(item, problem, acts);
  if (hopeless(item)) return problemBox(problem, button(t("tray.other"), choose, { id: "replace" }));
  return problemBox(problem, button(t("again"), acts.again, { id: "again" }));
}

/**
 * Returns what the model can repair instead of what a prompt asks for, and a button that does what is possible of it.
 * @param {Item} item @param {import("./api.js").Problem} problem @param {any} acts
 */
function misunderstood(item, problem, acts) {
  const names = problem.can.length ? problem.can : server.degradations.map((entry) => entry.name);
  const say = (/** @type {string} */ name) => make("button", {
    type: "button", class: "chip", dataset: { key: `say-${name}` },
    on: { click: () => { settings.prompt = sayOf(name); redraw(item); acts.reword(); } },
  }, degradation(name));
  return make("div", { class: "notice error", dataset: { code: problem.code } }, make("div", {},
    make("strong", {}, titleOf(problem)),
    problem.cannot.length > 0 && make("p", {}, t("refused.cannot", { names: problem.cannot.map(degradation).join(", ") })),
    make("p", {}, t("refused.can")),
    make("div", { class: "row chips", role: "group", "aria-label": t("refused.can") }, ...names.map(say)),
    make("div", { class: "row" }, button(t("refused.best-effort"), () => acts.reword({ best_effort: "true" }), { id: "best-effort" }))));
}

/** @param {Item} item @param {any} acts */
function main(item, acts) {
  const nothing = !settings.prompt.trim() && !anyOn(item);
  const act = (/** @type {string} */ id, /** @type {string} */ text, /** @type {() => void} */ click, /** @type {string} */ kind) => make("button", { type: "button", class: kind, id, disabled: nothing, on: { click } }, t(text));
  const part = item.state === "done" && item.fields.crop;
  return make("div", { class: "acts" },
    item.choosing ? act("restore-part", "restore.part", acts.part, "primary wide")
      : part ? act("restore-part", "restore.part", acts.part, "wide")
      : item.state === "done" ? act("restore", "restore.again", acts.restore, "wide")
      : act("restore", "restore", acts.restore, "primary wide"),
    nothing && make("p", { class: "muted" }, t("restore.nothing")));
}

/** @param {Item} item */
function progress(item) {
  const value = item.state === "sending" ? (item.sent < 1 ? item.sent : undefined) : item.progress?.fraction;
  const bar = make("progress", { id: "progress", max: 1, "aria-label": t("progress.label") });
  if (value !== undefined) bar.value = value;
  return make("div", { class: "progress", dataset: { state: item.state } },
    make("p", { class: "progress-text" }, sentence(item)), bar,
    !item.connected && make("p", { class: "warning", id: "lost" }, t("progress.lost")),
    (item.job?.attempts ?? 0) > 1 && make("p", { class: "muted" }, t("progress.attempt", { number: item.job.attempts })),
    ...item.reasons.filter(() => item.state === "queued").map((key) => make("p", { class: "muted" }, t(key))),
    button(t("cancel"), () => cancel(item), { id: "cancel", class: "wide" }));
}

/** @param {Item} item */
function sentence(item) {
  if (item.heldS) return t("progress.held", { time: duration(item.heldS) });
  if (item.state === "sending") return item.sent > 0 && item.sent < 1 ? `${t("progress.sending")} ${percent(item.sent)}` : t("progress.sending");
  if (item.state === "queued") return queued(item.job?.queue);
  const { progress } = item;
  const found = item.found?.find((entry) => entry.name !== "clean");
  if (!progress) return found ? t("progress.repairing", { name: degradation(found.name) }) : t("progress.looking");
  const text = t("progress.pass", { pass: number(progress.pass), passes: number(progress.passes) });
  return progress.steps > 1 ? `${text} ${t("progress.step", { step: number(progress.step), steps: number(progress.steps) })}` : text;
}

/** @param {any} queue */
function queued(queue) {
  if (!queue) return t("progress.queued");
  if (queue.paused) return t("progress.paused");
  const place = queue.position ? t("progress.place", { position: number(queue.position) }) : t("progress.next");
  return queue.eta_s === null || queue.eta_s === undefined ? place : `${place} ${t("progress.eta", { time: duration(queue.eta_s) })}`;
}

/** Tells screen readers when the state changes, not at each step. @param {Item} item */
function tell(item) {
  const mark = `${item.id} ${item.jobId} ${item.state} ${item.connected} ${item.heldS}`;
  if (mark === announced) return;
  announced = mark;
  if (item.busy) announce(item.connected ? sentence(item) : t("progress.lost"));
  else if (item.state === "done") announce(t("result.ready"));
  else if (item.state === "canceled") announce(t("progress.canceled"));
  else if (item.state === "failed" && item.problem) announce(`${t("failed")} ${item.problem.detail} ${item.problem.hint}`, true);
  else if (item.state === "ready") announce(t("found.ready"));
}
