// @ts-check
/** The dialog of the API key.  The key stays in sessionStorage: it is gone when the tab is closed. */
import { key } from "./api.js";
import { button, byId, fill, make } from "./dom.js";
import { t } from "./i18n.js";

/** @type {() => void} */
let whenSet = () => {};

/** @param {() => void} then called when the key has changed */
export function start(then) {
  whenSet = then;
  byId("open-key").addEventListener("click", () => openKey());
}

/** @param {string} [why] */
export function openKey(why = "") {
  const dialog = byId("key-dialog");
  if (dialog.open) return;
  const field = make("input", { type: "password", id: "key-field", value: key.get(), autocomplete: "off", spellcheck: false, "aria-describedby": "key-about" });
  const set = (/** @type {string} */ secret) => { key.set(secret.trim()); dialog.close(); whenSet(); };
  const form = make("form", { on: { submit: (/** @type {Event} */ event) => { event.preventDefault(); set(field.value); } } },
    make("label", { for: "key-field" }, t("key.label")), field,
    make("div", { class: "row end" },
      key.get() && button(t("key.forget"), () => set(""), { id: "key-forget" }),
      button(t("cancel"), () => dialog.close(), { id: "key-cancel" }),
      make("button", { type: "submit", class: "primary", id: "key-save" }, t("key.save"))));
  fill(dialog, make("h2", { id: "key-title" }, t("key.title")), why && make("p", { class: "warning" }, why), make("p", { class: "muted", id: "key-about" }, t("key.about")), form);
  dialog.showModal();
  field.focus();
}
