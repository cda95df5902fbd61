// @ts-check
/** Requests to the HTTP API of the server that this page comes from.  URLs are relative: a proxy may add a path. */

const KEY = "undegrade.key";
let memory = "";

/** A refusal of the server (RFC 9457), or no answer at all: then `status` is 0. */
export class Problem extends Error {
  /** @param {{status?: number, code?: string, detail?: string, hint?: string, request_id?: string, retryAfter?: number, can?: string[], cannot?: string[]}} body */
  constructor(body) {
    super(body.detail ?? "");
    this.status = body.status ?? 0;
    this.code = body.code ?? "no-answer";
    this.detail = body.detail ?? "";
    this.hint = body.hint ?? "";
    this.requestId = body.request_id ?? "";
    this.retryAfter = body.retryAfter ?? 0;
    this.can = body.can ?? []; // of a prompt that was not understood
    this.cannot = body.cannot ?? [];
  }

  /** Whether the same request may work soon. */
  get passing() {
    return [0, 408, 429, 502, 503, 504].includes(this.status);
  }
}

/** Returns the URL of a path of the API. @param {string} path */
export function url(path) {
  return new URL(path, document.baseURI).href;
}

/** The API key of this session; it never leaves sessionStorage, except to this server. */
export const key = {
  get() {
    try {
      return sessionStorage.getItem(KEY) ?? memory;
    } catch {
      return memory; // the browser keeps nothing for this page: the key lives as long as the page
    }
  },
  /** @param {string} secret */
  set(secret) {
    memory = secret;
    try {
      if (secret) sessionStorage.setItem(KEY, secret);
      else sessionStorage.removeItem(KEY);
    } catch {
      // as above
    }
  },
};

/** @param {Record<string, string>} [more] */
export function headers(more = {}) {
  return key.get() ? { "X-API-Key": key.get(), ...more } : more;
}

/**
 * Sends a request and returns the response.
 * @param {string} path
 * @param {{method?: string, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>}
 * @throws {Problem} the server refuses, or does not answer; an abort throws AbortError
 */
export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(url(path), { ...options, headers: headers(options.headers), cache: "no-store" });
  } catch (error) {
    if (/** @type {Error} */ (error).name === "AbortError") throw error;
    throw new Problem({});
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** @param {Response} response */
async function problemOf(response) {
  return parsed(response.status, await response.text().catch(() => ""), response.headers.get("X-Request-Id"), response.headers.get("Retry-After"));
}

/**
 * Returns the problem in a response; a proxy's own error page has none, so its status must do.
 * @param {number} status @param {string} text @param {string | null} requestId @param {string | null} retryAfter
 */
function parsed(status, text, requestId, retryAfter) {
  const known = { status, code: `http-${status}`, request_id: requestId ?? "", retryAfter: Number(retryAfter) || 0 };
  try {
    return new Problem({ ...known, ...JSON.parse(text) });
  } catch {
    return new Problem(known);
  }
}

/** @param {string} path @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function json(path, signal) {
  return (await request(path, { signal })).json();
}

/**
 * Sends a form with a photo.  XMLHttpRequest, because fetch does not tell how much has been sent.
 * @param {string} path
 * @param {FormData} form
 * @param {{headers?: Record<string, string>, signal?: AbortSignal, onSent?: (share: number) => void}} [options]
 * @returns {Promise<any>} the JSON of the response
 * @throws {Problem} as `request`
 */
export function send(path, form, options = {}) {
  return new Promise((resolve, reject) => {
    const { signal } = options;
    if (signal?.aborted) return reject(new DOMException("aborted", "AbortError"));
    const exchange = new XMLHttpRequest();
    exchange.open("POST", url(path));
    for (const [name, value] of Object.entries(headers(options.headers))) exchange.setRequestHeader(name, value);
    exchange.upload.onprogress = (event) => event.lengthComputable && options.onSent?.(event.loaded / event.total);
    exchange.onerror = exchange.ontimeout = () => reject(new Problem({}));
    exchange.onabort = () => reject(new DOMException("aborted", "AbortError"));
    exchange.onload = () => {
      const problem = () => parsed(exchange.status, exchange.responseText, exchange.getResponseHeader("X-Request-Id"), exchange.getResponseHeader("Retry-After"));
      if (exchange.status < 200 || exchange.status > 299) return reject(problem());
      try {
        resolve(JSON.parse(exchange.responseText));
      } catch {
        reject(problem());
      }
    };
    signal?.addEventListener("abort", () => exchange.abort(), { once: true });
    exchange.send(form);
  });
}

/** Returns 32 random hex digits; crypto.randomUUID is absent on plain HTTP. */
export function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
