// @ts-check
/** The photos of this visit, and which one is shown.  Views listen for "change" (event.detail is the item, or null). */

/**
 * new: not sent yet; checking: what is wrong with it?; ready: known; sending, queued, running: its restoration;
 * done, failed, canceled: how that ended.
 * @typedef {"new" | "checking" | "ready" | "sending" | "queued" | "running" | "done" | "failed" | "canceled"} ItemState
 */

export const BUSY = ["sending", "queued", "running"];
let count = 0;

export class Item {
  /** @param {Blob} file @param {string} name */
  constructor(file, name) {
    this.id = `photo-${++count}`;
    this.file = file;
    this.name = name;
    this.url = URL.createObjectURL(file);
    /** @type {ItemState} */
    this.state = "new";
    /** @type {{name: string, probability: number}[] | null} */
    this.found = null;
    /** Repairs that the user has switched on or off, and their strengths; null: the service decides.
     * @type {Record<string, {on: boolean, strength: number}> | null} */
    this.choices = null;
    /** @type {any} */
    this.job = null;
    this.jobId = "";
    /** @type {any} the job of the detection */
    this.detection = null;
    /** @type {Record<string, string | string[]>} the fields of the last restoration */
    this.fields = {};
    /** @type {{blob: Blob, url: string, shown: string, format: string} | null} */
    this.result = null;
    /** @type {Map<number, string>} URLs of the images after each pass */
    this.passes = new Map();
    /** @type {import("./api.js").Problem | null} */
    this.problem = null;
    this.sent = 0;
    this.connected = true;
    /** @type {{fraction: number, pass: number, passes: number, step: number, steps: number} | null} */
    this.progress = null;
    /** @type {string[]} why nothing happens */
    this.reasons = [];
    this.showable = true;
    /** @type {AbortController | null} */
    this.work = null;
    /** @type {number | null} the key of its entry in the history */
    this.entry = null;
  }

  get busy() {
    return BUSY.includes(this.state);
  }

  dropResult() {
    if (this.result) for (const old of new Set([this.result.url, this.result.shown])) URL.revokeObjectURL(old);
    for (const old of this.passes.values()) URL.revokeObjectURL(old);
    this.result = null;
    this.passes.clear();
  }

  free() {
    this.dropResult();
    URL.revokeObjectURL(this.url);
  }
}

class Items extends EventTarget {
  constructor() {
    super();
    /** @type {Item[]} */
    this.all = [];
    /** @type {Item | null} */
    this.shown = null;
  }

  /** @param {Item[]} items */
  add(items) {
    this.all.push(...items);
    this.show(items[0]);
  }

  /** @param {Item | null} item */
  show(item) {
    this.shown = item;
    this.dispatchEvent(new CustomEvent("show", { detail: item }));
    this.changed(item);
  }

  /** @param {Item | null} item */
  changed(item) {
    this.dispatchEvent(new CustomEvent("change", { detail: item }));
  }

  /** @param {Item} item */
  remove(item) {
    const place = this.all.indexOf(item);
    item.work?.abort();
    this.all.splice(place, 1);
    if (this.shown === item) this.show(this.all[Math.min(place, this.all.length - 1)] ?? null);
    else this.changed(null);
    item.free();
  }
}

export const items = new Items();
