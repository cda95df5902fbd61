// @ts-check
/** Chooses a part of the photo: drawn, moved and resized by pointer, by keys, or by numbers. */
import { announce, button, byId, fill, make } from "./dom.js";
import { number, t } from "./i18n.js";
import { items } from "./items.js";
import { between, centered, inside, opposite, proposed } from "./rectangle.js";

/**
 * @typedef {import("./items.js").Item} Item
 * @typedef {import("./rectangle.js").Point} Point
 * @typedef {import("./rectangle.js").Rectangle} Rectangle
 */

const CLICK_PX = 6; // a drag that is shorter is a click
const KEY_SHARE = 0.02; // of the photo's longer side
const FIELDS = /** @type {(keyof Rectangle)[]} */ (["x", "y", "width", "height"]);

export class PartChooser {
  /** @param {HTMLElement} stage @param {import("./viewport.js").Viewport} view */
  constructor(stage, view) {
    this.stage = stage;
    this.view = view;
    /** @type {Item | null} */
    this.item = null;
    /** @type {((point: Point, event: PointerEvent) => void) | null} what the pointer does */
    this.drag = null;
    this.box = make("div", { id: "part", class: "part", on: { keydown: (/** @type {KeyboardEvent} */ event) => this.onKey(event) } },
      ...["nw", "ne", "sw", "se"].map((corner) => make("span", { class: `corner ${corner}`, dataset: { corner } })));
    this.layer = make("div", { class: "part-layer", hidden: true }, this.box);
    view.addEventListener("change", () => this.place());
    stage.addEventListener("pointermove", (event) => this.drag?.(this.pointOf(event), event));
    stage.addEventListener("dblclick", (event) => { if (this.item?.choosing) event.stopImmediatePropagation(); }, { capture: true }); // no zoom
    for (const type of ["pointerup", "pointercancel"]) stage.addEventListener(type, () => this.drop());
  }

  /** Shows the part of a photo: to be changed, or, while it is restored, as it is. @param {Item} item */
  show(item) {
    this.item = item;
    const choosing = item.choosing && !item.busy;
    this.layer.hidden = !item.part || !(choosing || (item.busy && item.fields.crop));
    this.stage.classList.toggle("choosing", choosing);
    for (const [name, value] of Object.entries({ tabindex: "0", role: "group", "aria-label": t("part.label") })) {
      if (choosing) this.box.setAttribute(name, value);
      else this.box.removeAttribute(name);
    }
    this.drawFields(choosing);
    this.place();
  }

  /** The size of the photo in its own pixels; null until the browser has read it. */
  photo() {
    const image = /** @type {HTMLImageElement | null} */ (this.stage.querySelector("img.layer"));
    return image?.naturalWidth ? { width: image.naturalWidth, height: image.naturalHeight } : null;
  }

  /** Where the photo lies on the stage: its left upper corner, and the screen's pixels for one of its own. */
  geometry() {
    const photo = this.photo() ?? { width: 1, height: 1 };
    const { width, height } = this.view.pane();
    const scale = Math.min(width / photo.width, height / photo.height) * this.view.scale;
    return { scale, left: width * (0.5 + this.view.x) - (photo.width * scale) / 2, top: height * (0.5 + this.view.y) - (photo.height * scale) / 2 };
  }

  /** @param {PointerEvent} event @returns {Point} of the photo */
  pointOf(event) {
    const pane = this.view.pane();
    const { scale, left, top } = this.geometry();
    return { x: (event.clientX - pane.left - left) / scale, y: (event.clientY - pane.top - top) / scale };
  }

  /** Begins or ends choosing. @param {Item} item */
  toggle(item) {
    const photo = this.photo();
    if (!photo) return; // not read yet
    item.choosing = !item.choosing;
    if (item.choosing && !item.part) {
      const pane = this.view.pane();
      const { scale, left, top } = this.geometry();
      item.part = proposed(photo, { x: (pane.width / 2 - left) / scale, y: (pane.height / 2 - top) / scale });
    }
    items.changed(item);
  }

  /** @param {Rectangle} part @param {boolean} [told] */
  set(part, told = false) {
    const photo = this.photo();
    if (!this.item || !photo) return;
    this.item.part = inside(part, photo);
    this.place();
    if (told) announce(this.sentence());
  }

  sentence() {
    const { x, y, width, height } = /** @type {Rectangle} */ (this.item?.part);
    return t("part.place", { width: number(width), height: number(height), x: number(x), y: number(y) });
  }

  place() {
    const part = this.item?.part;
    if (!part || this.layer.hidden) return;
    const { scale, left, top } = this.geometry();
    const px = { left: left + part.x * scale, top: top + part.y * scale, width: part.width * scale, height: part.height * scale };
    for (const [name, value] of Object.entries(px)) this.box.style[name] = `${value}px`;
    for (const name of FIELDS) {
      const field = byId(`part-${name}`);
      if (field && field !== document.activeElement) field.value = String(part[name]);
    }
  }

  /** Takes every press while a part is chosen. @param {PointerEvent} event */
  begins(event) {
    const { item } = this;
    const photo = this.photo();
    if (!item?.choosing || item.busy || !item.part || !photo) return false;
    if (this.drag) return true; // a second finger
    const part = item.part;
    const from = this.pointOf(event);
    const place = { x: event.clientX, y: event.clientY };
    const target = /** @type {HTMLElement} */ (event.target);
    const anchor = target.dataset.corner ? opposite(part, target.dataset.corner) : from;
    if (target === this.box) this.drag = (to) => this.set({ ...part, x: part.x + to.x - from.x, y: part.y + to.y - from.y });
    else this.drag = (to, now) => { if (target.dataset.corner || Math.hypot(now.clientX - place.x, now.clientY - place.y) > CLICK_PX) this.set(between(anchor, to, photo)); };
    if (target !== this.box && !target.dataset.corner) this.set(centered(part, from, photo));
    this.stage.setPointerCapture(event.pointerId);
    return true;
  }

  drop() {
    if (this.drag && this.item?.part) announce(this.sentence());
    this.drag = null;
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const photo = this.photo();
    const part = this.item?.part;
    if (!photo || !part || !this.item || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = Math.max(1, Math.round(KEY_SHARE * Math.max(photo.width, photo.height)));
    const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
    if (event.key === "Enter") byId("restore-part")?.click();
    else if (event.key === "Escape") { this.toggle(this.item); byId("choose-part").focus(); }
    else if (!dx && !dy) return;
    else this.set(event.shiftKey ? grown(part, dx, dy, photo) : { ...part, x: part.x + dx, y: part.y + dy }, true);
    event.preventDefault();
    event.stopPropagation();
  }

  /** The same rectangle as numbers: a way without dragging. @param {boolean} choosing */
  drawFields(choosing) {
    const box = byId("part-fields");
    box.hidden = !choosing;
    const drawn = `${this.item?.id} ${document.documentElement.lang}`;
    if (!choosing || box.dataset.drawn === drawn) return;
    box.dataset.drawn = drawn;
    const field = (/** @type {keyof Rectangle} */ name) => {
      const input = make("input", {
        type: "number", id: `part-${name}`, min: name === "x" || name === "y" ? 0 : 1, inputMode: "numeric", value: String(this.item?.part?.[name] ?? ""),
        on: { input: () => { if (this.item?.part && input.value !== "") this.set({ ...this.item.part, [name]: Number(input.value) }); }, change: () => { input.value = String(this.item?.part?.[name] ?? ""); } },
      });
      return make("label", { class: "field", for: `part-${name}` }, make("span", {}, t(`part.${name}`)), input);
    };
    fill(box, make("p", { class: "muted" }, t("part.about")), make("div", { class: "row numbers", role: "group", "aria-label": t("part.numbers") }, ...FIELDS.map(field)));
  }

  /** Returns the button that begins and ends choosing. */
  button() {
    return button(t("part.choose"), () => this.item && this.toggle(this.item), { id: "choose-part" });
  }
}

/** Moves the right lower corner. @param {Rectangle} part @param {number} dx @param {number} dy @param {import("./rectangle.js").Size} photo */
function grown(part, dx, dy, photo) {
  return { ...part, width: Math.min(part.width + dx, photo.width - part.x), height: Math.min(part.height + dy, photo.height - part.y) };
}
