// @ts-check
/** The photos of this visit, and which one is shown.  Views listen for "change" (event.detail is the item, or null). */

/**
 * new: not sent yet; checking: what is wrong with it?; ready: known; sending, queued, running: its restoration;
 * done, failed, canceled: how that ended.
 * @typedef {"new" | "checking" | "ready" | "sending" | "queued" | "running" | "done" | "failed" | "canceled"} ItemState
 */

/** @typedef {{blob: Blob, url: string, shown: string, format: string}} Result `shown`: a URL that browsers can show, or "" */

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
    /** @type {Result | null} the chosen one, if there are several */
    this.result = null;
    /** Which of several results is chosen, from 1, and all that were fetched. */
    this.variant = 1;
    /** @type {Map<number, Promise<Result>>} */
    this.variants = new Map();
    /** @type {import("./rectangle.js").Rectangle | null} the part to restore first; `choosing`: it is being chosen */
    this.part = null;
    this.choosing = false;
    this.partUrl = ""; // the restored part, before
    /** @type {Map<number, string>} URLs of the images after each pass */
    this.passes = new Map();
    /** @type {import("./api.js").Problem | null} */
    this.problem = null;
    this.sent = 0;
    this.connected = true;
    this.heldS = 0; // until the photo is sent again, because the server is busy
    /** @type {{fraction: number, pass: number, passes: number, step: number, steps: number} | null} */
    this.progress = null;
    /** @type {string[]} why nothing happens */
    this.reasons = [];
    this.showable = true;
    /** @type {AbortController | null} */
    this.work = null;
    /** @type {number | null} the key of its entry in the history */
    this.entry = null;
    this.entryJob = ""; // the job of that entry
  }

  get busy() {
    return BUSY.includes(this.state);
  }

  dropResult() {
    for (const fetched of [this.result, ...this.variants.values()]) Promise.resolve(fetched).then(revoke, () => {});
    for (const old of [this.partUrl, ...this.passes.values()]) URL.revokeObjectURL(old);
    this.result = null;
    this.variant = 1;
    this.partUrl = "";
    this.variants.clear();
    this.passes.clear();
  }

  free() {
    this.dropResult();
    URL.revokeObjectURL(this.url);
  }
}

/** @param {Result | null} result */
function revoke(result) {
  for (const old of new Set([result?.url ?? "", result?.shown ?? ""])) URL.revokeObjectURL(old);
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
