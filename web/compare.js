// @ts-check
/** The stage: one photo, or before and after with a slider, side by side, or one of them while a button is held. */
import { button, byId, fill, make } from "./dom.js";
import { number, t } from "./i18n.js";
import { PartChooser } from "./part.js";
import { server } from "./server.js";
import { Viewport } from "./viewport.js";

/** @typedef {{before: string, after: string | null, afterLabel?: string, name: string, showable: boolean}} Pictures */

const MODES = ["slider", "side", "after"];
const ZOOM = 1.5;
const REACH_PX = 28;

export class Compare {
  constructor() {
    this.stage = byId("stage");
    this.view = new Viewport(this.stage);
    this.view.taken = (event) => this.beginDrag(event);
    this.view.addEventListener("change", () => this.showZoom());
    this.mode = "slider";
    this.position = 50;
    /** @type {Pictures | null} */
    this.pictures = null;
    this.held = false;
    this.drawn = "";
    this.stage.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.drag(event));
    for (const type of ["pointerup", "pointercancel"]) this.stage.addEventListener(type, () => (this.dragging = false));
    this.dragging = false;
    this.part = new PartChooser(this.stage, this.view);
    this.makeTools();
  }

  /** @param {import("./items.js").Item} item @param {Pictures} pictures */
  show(item, pictures) {
    if (this.pictures && this.pictures.before !== pictures.before) this.view.fit();
    this.pictures = pictures;
    this.held = false;
    this.draw();
    this.choose.hidden = !pictures.showable || !server.offer.crop;
    this.choose.disabled = item.busy;
    this.choose.textContent = t(item.choosing ? "part.close" : "part.choose");
    this.part.show(item);
  }

  /** Writes all texts again, in another language. */
  translate() {
    this.drawn = "";
    this.makeTools();
    if (this.pictures) this.draw();
  }

  get compares() {
    return Boolean(this.pictures?.after && this.pictures.showable);
  }

  makeTools() {
    this.range = make("input", {
      type: "range", id: "divider", min: 0, max: 100, step: 0.5, value: String(this.position), class: "divider-range",
      on: { input: () => this.place(Number(this.range.value)) },
    });
    this.slider = make("div", { class: "divider-row" },
      this.range, make("span", { class: "muted", "aria-hidden": "true" }, t("view.before")), make("label", { for: "divider" }, t("view.divider")),
      make("span", { class: "muted", "aria-hidden": "true" }, t("view.after")));
    this.hold = make("button", { type: "button", id: "hold", "aria-pressed": "false" }, t("view.hold"));
    this.listenHold();
    this.choose = this.part.button();
    this.zoomText = make("output", { class: "zoom-text", for: "stage" });
    const zoom = (/** @type {string} */ label, /** @type {string} */ key, /** @type {() => void} */ act) => button(label, act, { class: "icon", "aria-label": t(key), title: t(key), dataset: { key } });
    fill(byId("tools"), this.slider, make("div", { id: "part-fields", class: "part-fields", hidden: true }), make("div", { class: "row tool-row" }, this.hold, this.choose,
      make("div", { class: "row zooms", role: "group", "aria-label": t("view.zoom") },
        zoom("−", "view.zoom-out", () => this.view.zoom(1 / ZOOM)), this.zoomText, zoom("+", "view.zoom-in", () => this.view.zoom(ZOOM)),
        button(t("view.fit"), () => this.view.fit(), { dataset: { key: "fit" } }), button(t("view.actual"), () => this.view.actual(), { dataset: { key: "actual" } }))));
    fill(byId("modes"), ...MODES.map((mode) => make("label", {},
      make("input", { type: "radio", name: "mode", id: `mode-${mode}`, value: mode, checked: mode === this.mode, on: { change: () => { this.mode = mode; this.draw(); } } }),
      make("span", {}, t(`view.${mode}`)))));
  }

  draw() {
    const { before, after, afterLabel, name, showable } = /** @type {Pictures} */ (this.pictures);
    byId("modes").hidden = this.slider.hidden = this.hold.hidden = !this.compares;
    this.slider.hidden ||= this.mode !== "slider";
    this.stage.setAttribute("aria-label", t("view.stage", { name }));
    const shown = this.held ? "before" : this.mode;
    const what = [before, after, shown, afterLabel, showable].join("|");
    if (what === this.drawn) return;
    this.drawn = what;
    const layer = (/** @type {string} */ source, /** @type {string} */ alt) => make("img", { class: "layer", src: source, alt, draggable: false, on: { load: (/** @type {Event} */ event) => this.loaded(/** @type {HTMLImageElement} */ (event.target)) } });
    const tag = (/** @type {string} */ text, /** @type {string} */ side) => make("span", { class: `tag ${side}`, "aria-hidden": "true" }, text);
    const original = () => layer(before, t("view.alt-before", { name }));
    const restored = () => layer(/** @type {string} */ (after), t("view.alt-after", { name }));
    const label = afterLabel ?? t("view.after");
    this.stage.classList.toggle("sliding", this.compares && shown === "slider");
    if (!showable && !after) fill(this.stage, make("p", { class: "no-picture" }, t("view.cannot-show")));
    else if (!after) fill(this.stage, make("div", { class: "pane" }, original()));
    else if (!showable || shown === "after") fill(this.stage, make("div", { class: "pane" }, restored(), tag(label, "right")));
    else if (shown === "before") fill(this.stage, make("div", { class: "pane" }, original(), tag(t("view.before"), "left")));
    else if (shown === "side") fill(this.stage, make("div", { class: "pane" }, original(), tag(t("view.before"), "left")), make("div", { class: "pane" }, restored(), tag(label, "right")));
    else {
      this.clip = make("div", { class: "clip" }, original());
      this.line = make("div", { class: "divider", "aria-hidden": "true" }, make("span", {}));
      fill(this.stage, make("div", { class: "pane" }, restored(), this.clip, this.line, tag(t("view.before"), "left"), tag(label, "right")));
      this.place(this.position);
    }
    this.stage.append(this.part.layer);
    this.view.apply();
    this.showZoom();
  }

  /** @param {HTMLImageElement} image */
  loaded(image) {
    this.stage.style.setProperty("--ratio", `${image.naturalWidth} / ${image.naturalHeight}`);
    this.view.apply();
    this.showZoom();
  }

  /** Moves the divider. @param {number} position in percent of the stage's width */
  place(position) {
    this.position = Math.max(0, Math.min(100, position));
    this.range.value = String(this.position);
    this.range.setAttribute("aria-valuetext", t("view.divider-value", { percent: Math.round(this.position) }));
    if (!this.clip) return;
    this.clip.style.clipPath = `inset(0 ${100 - this.position}% 0 0)`;
    this.line.style.left = `${this.position}%`;
  }

  showZoom() {
    this.zoomText.textContent = number(this.view.scale / this.view.natural(), { style: "percent", maximumFractionDigits: 0 });
  }

  /** Takes a drag that begins at the divider. @param {PointerEvent} event */
  beginDrag(event) {
    if (this.part.begins(event)) return true;
    if (!this.compares || this.mode !== "slider" || this.held) return false;
    const box = this.stage.getBoundingClientRect();
    const near = Math.abs(event.clientX - box.left - (box.width * this.position) / 100) <= REACH_PX;
    if (!near && this.view.scale > 1.001) return false;
    if (!near && event.pointerType === "touch") return false; // a tap beside it may be the begin of a scroll
    this.dragging = true;
    this.stage.setPointerCapture(event.pointerId);
    this.drag(event);
    return true;
  }

  /** @param {PointerEvent} event */
  drag(event) {
    if (!this.dragging) return;
    const box = this.stage.getBoundingClientRect();
    this.place(((event.clientX - box.left) / box.width) * 100);
  }

  /** Shows the original while the button is held, by pointer or key; a click of assistive technology switches. */
  listenHold() {
    let ends = 0;
    const set = (/** @type {boolean} */ held) => {
      if (held === this.held) return;
      this.held = held;
      if (!held) ends = performance.now();
      this.hold.setAttribute("aria-pressed", String(held));
      this.draw();
    };
    this.hold.addEventListener("pointerdown", () => set(true));
    for (const type of ["pointerup", "pointerleave", "pointercancel", "blur"]) this.hold.addEventListener(type, () => set(false));
    this.hold.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => { if ([" ", "Enter"].includes(event.key)) { event.preventDefault(); set(true); } });
    this.hold.addEventListener("keyup", () => set(false));
    this.hold.addEventListener("contextmenu", (/** @type {Event} */ event) => event.preventDefault());
    this.hold.addEventListener("click", () => { if (performance.now() - ends > 400) set(!this.held); });
  }
}
