// @ts-check
/** Zoom and pan of the photo, the same for all layers of the stage.  Scale 1 fits the photo into the stage. */

const MOST = 32;
const STEP = 1.5;
const PAN_PX = 60;

export class Viewport extends EventTarget {
  /** @param {HTMLElement} stage takes keys and pointers; its layers are `.layer`, its panes `.pane` */
  constructor(stage) {
    super();
    this.stage = stage;
    this.scale = 1;
    this.x = 0; // of the photo's center from the pane's, in widths of the pane
    this.y = 0;
    /** @type {Map<number, {x: number, y: number}>} */
    this.pointers = new Map();
    /** Whether a drag moves something else, such as the divider. @type {(event: PointerEvent) => boolean} */
    this.taken = () => false;
    stage.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.onDown(event));
    stage.addEventListener("pointermove", (event) => this.onMove(event));
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) stage.addEventListener(type, (event) => this.pointers.delete(/** @type {PointerEvent} */ (event).pointerId));
    stage.addEventListener("dblclick", (event) => this.onDouble(event));
    stage.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.apply()).observe(stage);
  }

  pane() {
    return (this.stage.querySelector(".pane") ?? this.stage).getBoundingClientRect();
  }

  /** The scale at which a pixel of the photo is a pixel of the screen. */
  natural() {
    const image = /** @type {HTMLImageElement | null} */ (this.stage.querySelector("img.layer"));
    const { width, height } = this.pane();
    if (!image?.naturalWidth || !width) return 1;
    const fit = Math.min(width / image.naturalWidth, height / image.naturalHeight);
    return 1 / fit / (window.devicePixelRatio || 1);
  }

  fit() {
    this.set(1, 0, 0);
  }

  actual() {
    this.zoom(this.natural() / this.scale);
  }

  /** Zooms around a point of the screen, the center of the pane without one. @param {number} factor @param {{clientX: number, clientY: number}} [at] */
  zoom(factor, at) {
    const scale = Math.min(MOST, Math.max(Math.min(1, this.natural()), this.scale * factor));
    const pane = this.paneAt(at);
    const px = at ? (at.clientX - pane.left - pane.width / 2) / pane.width : 0;
    const py = at ? (at.clientY - pane.top - pane.height / 2) / pane.height : 0;
    const change = scale / this.scale;
    this.set(scale, px - (px - this.x) * change, py - (py - this.y) * change);
  }

  /** @param {{clientX: number, clientY: number}} [at] */
  paneAt(at) {
    const panes = [...this.stage.querySelectorAll(".pane")].map((pane) => pane.getBoundingClientRect());
    return panes.find((pane) => at && at.clientX >= pane.left && at.clientX <= pane.right && at.clientY >= pane.top && at.clientY <= pane.bottom) ?? this.pane();
  }

  /** @param {number} dx in px @param {number} dy in px */
  pan(dx, dy) {
    const { width, height } = this.pane();
    this.set(this.scale, this.x + dx / width, this.y + dy / height);
  }

  /** @param {number} scale @param {number} x @param {number} y */
  set(scale, x, y) {
    const room = Math.max(0, (scale - 1) / 2 + 0.0001);
    this.scale = scale;
    this.x = Math.max(-room, Math.min(room, x));
    this.y = Math.max(-room, Math.min(room, y));
    this.apply();
  }

  apply() {
    const { width, height } = this.pane();
    const transform = `translate(${this.x * width}px, ${this.y * height}px) scale(${this.scale})`;
    for (const layer of /** @type {NodeListOf<HTMLElement>} */ (this.stage.querySelectorAll(".layer"))) layer.style.transform = transform;
    this.stage.classList.toggle("zoomed", this.scale > 1.001);
    this.stage.classList.toggle("pixels", this.scale >= 4 * this.natural());
    this.dispatchEvent(new Event("change"));
  }

  /** @param {WheelEvent} event */
  onWheel(event) {
    const scrolls = document.documentElement.scrollHeight > innerHeight + 1;
    if (scrolls && !event.ctrlKey && this.scale <= 1.001) return; // the page scrolls, as everywhere
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), event);
  }

  /** @param {PointerEvent} event */
  onDown(event) {
    if (event.button || this.taken(event)) return;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (this.scale > 1.001 || this.pointers.size > 1) this.stage.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  onMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const distance = (/** @type {{x: number, y: number}} */ place) => Math.hypot(place.x - other.x, place.y - other.y) || 1;
      this.zoom(distance(now) / distance(before), { clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2 });
    } else {
      this.pan(now.x - before.x, now.y - before.y);
    }
    this.pointers.set(event.pointerId, now);
  }

  /** @param {MouseEvent} event */
  onDouble(event) {
    if (this.scale > 1.001) this.fit();
    else this.zoom(Math.max(2, this.natural()), event);
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (event.target !== this.stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = /** @type {Record<string, () => void>} */ ({
      "+": () => this.zoom(STEP), "=": () => this.zoom(STEP), "-": () => this.zoom(1 / STEP), 0: () => this.fit(), 1: () => this.actual(),
      ArrowLeft: () => this.pan(PAN_PX, 0), ArrowRight: () => this.pan(-PAN_PX, 0),
      ArrowUp: () => this.pan(0, PAN_PX), ArrowDown: () => this.pan(0, -PAN_PX),
    });
    const act = acts[event.key];
    if (!act || (event.key.startsWith("Arrow") && this.scale <= 1.001)) return;
    event.preventDefault();
    act();
  }
}
