// @ts-check
/** The dialog that shows the request of a photo as code. */
import { key, url } from "./api.js";
import { button, byId, fill, make } from "./dom.js";
import { flash } from "./flash.js";
import { t } from "./i18n.js";
import { resultName } from "./names.js";
import { curl, python } from "./snippets.js";
import { seedOf } from "./variants.js";

/** @param {import("./items.js").Item} item */
export function openCode(item) {
  const dialog = byId("code-dialog");
  const { variants, ...fields } = item.fields; // the shown result alone, by its seed
  const seed = seedOf(item);
  if (seed) fields.seed = seed;
  const call = { base: url("./"), name: item.name, output: resultName(item), fields, key: Boolean(key.get()) };
  const close = button(t("close"), () => dialog.close(), { id: "code-close" });
  fill(dialog, make("h2", { id: "code-title" }, t("code.title")), make("p", { class: "muted" }, t("code.about")),
    block("curl", "curl", curl(call)), block("python", "Python", python(call)), make("div", { class: "row end" }, close));
  dialog.showModal();
}

/** @param {string} id @param {string} name @param {string} text */
function block(id, name, text) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      flash(`copy-${id}`, t("copied"));
    } catch {
      getSelection()?.selectAllChildren(byId(`code-${id}`)); // no clipboard on plain HTTP: ready for Ctrl-C
      flash(`copy-${id}`, t("copy-failed"));
    }
  };
  return make("section", {}, make("div", { class: "row between" }, make("h3", {}, name), button(t("copy", { name }), copy, { id: `copy-${id}` })),
    make("pre", { id: `code-${id}`, tabIndex: 0, role: "region", "aria-label": name }, text));
}
