// @ts-check
/**
 * Follows a job: server-sent events by fetch (EventSource sends no API key), with reconnection after the last event, and
 * polling while no stream gets through.
 */
import { Problem, headers, json, url } from "./api.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;
const SILENCE_MS = 40_000; // the server sends a comment every 15 s
const GIVE_UP = [401, 403, 404, 410];

/**
 * Calls `onChange` when something has happened with the job, until `over` returns true.
 * @param {string} id
 * @param {{onChange: (event: {type: string, data: any} | null) => Promise<void>, over: () => boolean,
 *   onConnection: (connected: boolean) => void, signal: AbortSignal}} watcher `onChange(null)`: ask for the job's state
 * @throws {Problem} the job can not be followed: it is gone, or the key is not valid
 */
export async function follow(id, watcher) {
  const position = { last: "" };
  let pause = FIRST_PAUSE_MS;
  while (!watcher.over()) {
    watcher.signal.throwIfAborted();
    const failure = await once(() => readStream(id, position, watcher, () => (pause = FIRST_PAUSE_MS)), watcher.signal);
    if (watcher.over()) break;
    const lost = await once(() => watcher.onChange(null), watcher.signal); // a poll, in case that no stream gets through
    watcher.onConnection(!lost);
    if (watcher.over()) break;
    await sleep(Math.max(pause, (lost ?? failure)?.retryAfter ? 1000 * (lost ?? failure).retryAfter : 0), watcher.signal);
    pause = Math.min(LONGEST_PAUSE_MS, pause * 1.6);
  }
  watcher.onConnection(true);
}

/** Returns the passing problem of an act, if there is one. @param {() => Promise<void>} act @param {AbortSignal} signal @returns {Promise<any>} */
async function once(act, signal) {
  try {
    await act();
    return null;
  } catch (error) {
    if (signal.aborted) throw error;
    const problem = error instanceof Problem ? error : new Problem({});
    if (GIVE_UP.includes(problem.status)) throw problem;
    return problem;
  }
}

/** @param {string} id @param {{last: string}} position @param {any} watcher @param {() => void} onOpen */
async function readStream(id, position, watcher, onOpen) {
  const silence = new AbortController();
  const stop = () => silence.abort();
  watcher.signal.addEventListener("abort", stop);
  let timer = setTimeout(stop, SILENCE_MS);
  try {
    const more = /** @type {Record<string, string>} */ (position.last ? { "Last-Event-ID": position.last } : {});
    const response = await fetch(url(`jobs/${id}/events`), {
      headers: headers({ Accept: "text/event-stream", ...more }), signal: silence.signal, cache: "no-store",
    });
    if (!response.ok || !response.body) throw new Problem({ status: response.status, retryAfter: Number(response.headers.get("Retry-After")) || 0 });
    watcher.onConnection(true);
    onOpen();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(stop, SILENCE_MS);
      for (const event of parser.feed(value)) {
        if (event.id) position.last = event.id;
        await watcher.onChange({ type: event.type, data: parse(event.data) });
        if (watcher.over()) return;
      }
    }
  } finally {
    clearTimeout(timer);
    watcher.signal.removeEventListener("abort", stop);
    silence.abort();
  }
}

/** Parses text/event-stream, as it arrives in pieces. */
export class EventParser {
  constructor() {
    this.rest = "";
  }

  /** @param {string} text @returns {{id: string, type: string, data: string}[]} the events that are complete now */
  feed(text) {
    const blocks = (this.rest + text).split(/\r?\n\r?\n/);
    this.rest = blocks.pop() ?? "";
    return blocks.map(parseBlock).filter((event) => event.type || event.data);
  }
}

/** @param {string} block */
function parseBlock(block) {
  const event = { id: "", type: "", data: "" };
  for (const line of block.split(/\r?\n/)) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line) ?? ["", "", ""];
    if (field === "id") event.id = value;
    if (field === "event") event.type = value;
    if (field === "data") event.data += (event.data && "\n") + value;
  }
  return event;
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** @param {number} milliseconds @param {AbortSignal} signal @returns {Promise<void>} */
export function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

/** @param {string} id @param {AbortSignal} [signal] */
export function readJob(id, signal) {
  return json(`jobs/${id}`, signal);
}
