// @ts-check
/** The history: restored photos in this browser (IndexedDB), the newest MOST of them, and at most MOST_BYTES. */

/**
 * @typedef {{key?: number, name: string, when: number, jobId: string, job: any, fields: Record<string, any>, original: Blob,
 *   result: Blob | null, format: string}} Entry `result` is null until the job has ended
 */

const NAME = "undegrade";
const STORE = "photos";
const OFF = "undegrade.history";
const MOST = 40;
const MOST_BYTES = 300e6;
/** @type {Promise<IDBDatabase> | null} */
let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const asked = indexedDB.open(NAME, 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(STORE, { keyPath: "key", autoIncrement: true });
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
  return opened;
}

/** @template T @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<T>} act @returns {Promise<T>} */
async function inStore(mode, act) {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(STORE, mode);
    const asked = act(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(asked.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** Whether the user wants a history. */
export function wanted() {
  try {
    return localStorage.getItem(OFF) !== "off";
  } catch {
    return false; // the browser keeps nothing for this page
  }
}

/** @param {boolean} on */
export function want(on) {
  try {
    if (on) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "off");
  } catch {
    // as above
  }
}

/** Keeps an entry and returns its key; null where the browser keeps none. @param {Entry} entry @returns {Promise<number | null>} */
export async function keep(entry) {
  if (!wanted()) return null;
  try {
    const key = Number(await inStore("readwrite", (store) => store.put(entry)));
    await shorten();
    return key;
  } catch {
    return null; // private browsing, or no room: the page works without
  }
}

/** Returns the entries, newest first. @returns {Promise<Entry[]>} */
export async function entries() {
  try {
    return (await inStore("readonly", (store) => store.getAll())).reverse();
  } catch {
    return [];
  }
}

/** @param {number} key */
export function remove(key) {
  return inStore("readwrite", (store) => store.delete(key)).catch(() => {});
}

export function clear() {
  return inStore("readwrite", (store) => store.clear()).catch(() => {});
}

async function shorten() {
  let bytes = 0;
  for (const [place, entry] of (await entries()).entries()) {
    bytes += entry.original.size + (entry.result?.size ?? 0);
    if (place >= MOST || bytes > MOST_BYTES) await remove(/** @type {number} */ (entry.key));
  }
}
