// @ts-check
/** Runs the jobs of the photos: detection, restoration, cancel; three photos at a time. */
import { Problem, json, randomId, request, send } from "./api.js";
import { BUSY, items } from "./items.js";
import { fetchResult } from "./results.js";
import { askDegradations, server } from "./server.js";
import { follow, readJob, sleep } from "./stream.js";

/** @typedef {import("./items.js").Item} Item */

const AT_ONCE = 3; // a browser opens six connections to a server, and each job takes a stream
const TRIES = 4;
const LINE_POLL_MS = 2500;
const LONGEST_HOLD_S = 60; // a quota of a day is told at once
const ASK_READY_AFTER = 3; // polls
const ENDED = ["succeeded", "failed", "canceled", "expired"];
const CANCEL = new DOMException("canceled", "AbortError");

/** @type {{item: Item, fields: Record<string, any>}[]} */
const waiting = [];
let running = 0;

/** Finds out what is wrong with a photo. @param {Item} item */
export async function detect(item) {
  if (item.state !== "new") return;
  const work = begin(item, "checking");
  try {
    let answer = await submit("detect", item, {}, work.signal, { Prefer: "wait=30" });
    while (answer.status && !ENDED.includes(answer.status)) {
      answer = await json(`jobs/${answer.id}?wait=20`, work.signal); // the line is long
    }
    if (answer.error) throw new Problem(answer.error);
    item.detection = answer;
    item.found = answer.degradations;
    if (!server.degradations.length) await askDegradations().catch(() => {}); // the first worker has become ready
    item.state = "ready";
  } catch (error) {
    if (work.signal.aborted) return;
    item.problem = asProblem(error);
    item.state = "failed";
  }
  items.changed(item);
}

/** Restores a photo, at once or as soon as fewer than AT_ONCE are being restored. @param {Item} item @param {Record<string, any>} fields */
export function restore(item, fields) {
  if (item.busy) return;
  item.work?.abort(CANCEL); // a detection
  item.state = "sending";
  item.fields = fields;
  item.problem = item.progress = item.job = null;
  item.sent = 0;
  item.reasons = [];
  item.choosing = false;
  item.dropResult();
  waiting.push({ item, fields });
  items.changed(item);
  startNext();
}

/** Continues with a job of an earlier visit. @param {Item} item @param {string} jobId */
export async function resume(item, jobId) {
  const work = begin(item, "queued");
  item.jobId = jobId;
  await finishing(item, work, () => watch(item, work));
}

function startNext() {
  while (running < AT_ONCE && waiting.length) {
    const { item, fields } = /** @type {{item: Item, fields: Record<string, any>}} */ (waiting.shift());
    if (item.state !== "sending") continue; // canceled meanwhile
    running += 1;
    run(item, fields).finally(() => { running -= 1; startNext(); });
  }
}

/** @param {Item} item @param {Record<string, any>} fields */
async function run(item, fields) {
  const work = begin(item, "sending");
  await finishing(item, work, async () => {
    const job = await submit("restore", item, fields, work.signal, { Prefer: "respond-async" });
    item.jobId = job.id;
    take(item, job);
    items.dispatchEvent(new CustomEvent("submitted", { detail: item }));
    await watch(item, work);
  });
}

/** @param {Item} item @param {AbortController} work @param {() => Promise<void>} act */
async function finishing(item, work, act) {
  try {
    await act();
  } catch (error) {
    if (item.work !== work) return; // another act has begun
    item.state = work.signal.aborted ? "canceled" : "failed";
    item.problem = work.signal.aborted ? null : asProblem(error);
  }
  item.connected = true;
  items.changed(item);
  items.dispatchEvent(new CustomEvent("ended", { detail: item }));
}

/** @param {Item} item @param {import("./items.js").ItemState} state */
function begin(item, state) {
  item.work?.abort(CANCEL);
  item.work = new AbortController();
  item.state = state;
  item.problem = null;
  items.changed(item);
  return item.work;
}

/**
 * Sends the photo.  It tries again where that cannot make two jobs: the server was too busy, or takes an Idempotency-Key.
 * @param {string} route @param {Item} item @param {Record<string, any>} fields @param {AbortSignal} signal @param {Record<string, string>} more
 */
async function submit(route, item, fields, signal, more) {
  const headers = server.offer.idempotency ? { "Idempotency-Key": randomId(), ...more } : more;
  for (let tries = 1; ; tries++) {
    try {
      const form = new FormData();
      for (const [name, value] of Object.entries(fields)) for (const entry of [value].flat()) form.append(name, entry);
      form.append("image", item.file, item.name);
      const onSent = (/** @type {number} */ share) => { item.sent = share; items.changed(item); };
      return await send(route, form, { headers, signal, onSent });
    } catch (error) {
      const again = error instanceof Problem && error.passing && (error.status === 429 || error.status === 503 || server.offer.idempotency);
      if (!again || tries === TRIES || error.retryAfter > LONGEST_HOLD_S) throw error;
      await hold(item, error.retryAfter || 2 ** tries, error.status > 0, signal);
    }
  }
}

/** Waits before a photo is sent again, and says so. @param {Item} item @param {number} seconds @param {boolean} busy or away @param {AbortSignal} signal */
async function hold(item, seconds, busy, signal) {
  if (busy) item.heldS = seconds;
  else item.connected = false;
  items.changed(item);
  try {
    await sleep(1000 * seconds, signal);
  } finally {
    item.heldS = 0;
    item.connected = true;
    items.changed(item);
  }
}

/** Follows a job to its end, and fetches its result. @param {Item} item @param {AbortController} work */
async function watch(item, work) {
  const over = () => ENDED.includes(item.job?.status);
  const line = pollLine(item, work.signal, over);
  await follow(item.jobId, {
    over,
    signal: work.signal,
    onConnection: (connected) => { if (item.connected !== connected) { item.connected = connected; items.changed(item); } },
    onChange: async (event) => {
      if (event?.type === "step.progress") showProgress(item, event.data);
      else if (event?.type === "started") item.state = "running";
      else if (event?.type === "detected") item.found = Object.entries(event.data.degradations ?? {}).map(([name, probability]) => ({ name, probability }));
      else take(item, await readJob(item.jobId, work.signal));
      items.changed(item);
    },
  });
  await line;
  await end(item, work.signal);
}

/** Asks for the place in line: no event tells that others have left it. @param {Item} item @param {AbortSignal} signal @param {() => boolean} over */
async function pollLine(item, signal, over) {
  try {
    for (let polls = 1; !over(); polls++) {
      await sleep(polls === 1 ? 400 : LINE_POLL_MS, signal);
      if (item.state !== "queued" || over()) continue;
      const job = await readJob(item.jobId, signal);
      if (!over()) take(item, job);
      if (polls % ASK_READY_AFTER === 0 && item.state === "queued") item.reasons = await reasons(signal);
      items.changed(item);
    }
  } catch {
    // `follow` tells what is wrong
  }
}

/** Why no job runs: the keys of sentences. @param {AbortSignal} signal @returns {Promise<string[]>} */
async function reasons(signal) {
  try {
    await request("readyz", { signal });
  } catch (error) {
    if (error instanceof Problem && error.status === 503) return ["progress.not-ready"];
  }
  return [];
}

/** @param {Item} item @param {any} data */
function showProgress(item, data) {
  item.state = "running";
  item.progress = { fraction: data.fraction, pass: data.pass_index + 1, passes: data.passes, step: data.step, steps: data.steps };
}

/** Takes over what the server says about a job. @param {Item} item @param {any} job */
function take(item, job) {
  item.job = job;
  if (job.degradations?.length) item.found = job.degradations;
  if (job.status === "queued" || job.status === "running") {
    if (item.state !== job.status) item.progress = null; // a worker has died, and the job begins again
    item.state = job.status;
  }
}

/** @param {Item} item @param {AbortSignal} signal */
async function end(item, signal) {
  const { status, error } = item.job;
  if (status === "succeeded") {
    await fetchResult(item, signal);
    item.state = "done";
  } else {
    item.state = status === "canceled" && !error ? "canceled" : "failed";
    item.problem = error ? new Problem({ ...error, status: 200 }) : null;
    if (status === "expired" && !error) item.problem = new Problem({ status: 200, code: "deadline" });
  }
}

/** Cancels a restoration, on the server too. @param {Item} item */
export async function cancel(item) {
  if (!BUSY.includes(item.state)) return;
  const started = item.jobId && item.job;
  item.work?.abort(CANCEL);
  item.state = "canceled";
  items.changed(item);
  if (started) await request(`jobs/${item.jobId}`, { method: "DELETE" }).catch(() => {});
}

/** @param {unknown} error */
function asProblem(error) {
  if (error instanceof Problem) return error;
  console.error(error);
  return new Problem({ status: 200, code: "page", detail: String(error) });
}
