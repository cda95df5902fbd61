// @ts-check
/** The photos of this visit, when there are several: which one is shown, how far each is, and all at once. */
import { button, byId, fill, make, save } from "./dom.js";
import { t } from "./i18n.js";
import { choose } from "./intake.js";
import { items } from "./items.js";
import { resultName } from "./names.js";
import { zip } from "./zip.js";

/** @typedef {import("./items.js").Item} Item */

let drawn = "";

/** @param {(items: Item[]) => void} restoreAll */
export function draw(restoreAll) {
  const tray = byId("tray");
  tray.hidden = items.all.length === 0;
  const what = items.all.map((item) => `${item.id} ${item.state} ${item.variant} ${item.showable} ${item === items.shown}`).join("|") + document.documentElement.lang;
  if (what === drawn) return;
  drawn = what;
  const several = items.all.length > 1;
  const done = items.all.filter((item) => item.result);
  const open = items.all.filter((item) => ["new", "checking", "ready"].includes(item.state) || (item.state === "done" && item.fields.crop));
  fill(tray,
    make("h2", { class: several ? "small-title" : "hidden-text", id: "tray-title" }, t("tray.title", { count: items.all.length })),
    several && make("ul", { class: "thumbs", "aria-labelledby": "tray-title" }, ...items.all.map(thumb)),
    make("div", { class: "row" },
      button(t("tray.add"), choose, { id: "add" }),
      several && open.length > 0 && button(t("tray.restore-all", { count: open.length }), () => restoreAll(open), { id: "restore-all", class: "primary" }),
      done.length > 1 && button(t("tray.download-all", { count: done.length }), () => downloadAll(done), { id: "download-all" }),
      !several && button(t("tray.other"), () => items.remove(items.all[0]), { id: "other" })));
}

/** @param {Item} item */
function thumb(item) {
  const state = t(`state.${item.state}`);
  return make("li", { dataset: { state: item.state } },
    make("button", { type: "button", class: "thumb", dataset: { key: `show-${item.id}` }, "aria-current": item === items.shown ? "true" : undefined, "aria-label": `${item.name}: ${state}`, on: { click: () => items.show(item) } },
      thumbnail(item), make("span", {}, state)),
    button("×", () => items.remove(item), { class: "remove", dataset: { key: `remove-${item.id}` }, "aria-label": t("tray.remove", { name: item.name }) }));
}

/** A picture, or nothing where the browser cannot show the file. @param {Item} item */
function thumbnail(item) {
  const image = make("img", { src: item.result?.shown || (item.showable ? item.url : undefined), alt: "", width: 96, height: 72, on: { error: () => (image.style.visibility = "hidden") } });
  return image;
}

/** @param {Item[]} done */
async function downloadAll(done) {
  save(await zip(done.map((item) => ({ name: resultName(item), blob: /** @type {any} */ (item.result).blob }))), "restored.zip");
}
