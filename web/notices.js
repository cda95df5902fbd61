// @ts-check
/** Messages above the photo: errors with what to do next, and what else the user should know. */
import { announce, button, byId, make } from "./dom.js";
import { has, t } from "./i18n.js";

/** @typedef {import("./api.js").Problem} Problem */

/** Shows a message until it is closed. @param {"error" | "info"} kind @param {string} title @param {string} [detail] */
export function notice(kind, title, detail = "") {
  const box = make("div", { class: `notice ${kind}` },
    make("div", {}, make("strong", {}, title), detail && make("p", {}, detail)),
    button("×", () => box.remove(), { class: "quiet close", "aria-label": t("close") }));
  byId("notices").append(box);
  announce(`${title} ${detail}`, kind === "error");
}

/** Returns the title of a problem in the user's language. @param {Problem} problem */
export function titleOf(problem) {
  if (has(`error.${problem.code}`)) return t(`error.${problem.code}`);
  return problem.status ? t("error.other") : t("error.no-answer");
}

/**
 * Returns a box for a problem: what, why, what next.  The server's own sentences are English.
 * @param {Problem} problem
 * @param {...HTMLElement} actions
 */
export function problemBox(problem, ...actions) {
  const hint = !problem.status ? t("error.no-answer.hint") : problem.status === 401 ? "" : problem.hint; // the page asks for the key itself
  const english = { lang: "en" };
  return make("div", { class: "notice error", dataset: { code: problem.code } },
    make("div", {},
      make("strong", {}, titleOf(problem)),
      problem.detail && make("p", english, problem.detail),
      hint && make("p", problem.status ? english : {}, hint),
      problem.requestId && make("p", { class: "muted request-id" }, t("error.request"), " ", make("code", {}, problem.requestId)),
      actions.length > 0 && make("div", { class: "row" }, ...actions)));
}
