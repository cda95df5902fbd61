// Restore a photo from a phone, whose connection breaks and whose system stops the app at any time.
// As a program:  node phone.mjs photo.jpg restored.jpg [URL] [API key]; run it again, and it continues.

const MAX_TRIES = 8;
const RETRIED = [408, 429, 500, 502, 503, 504];

// Returns the restored picture.  `state` is what `save` got last, or {} for a new photo; keep it beside the photo.
export async function restore(photo, name, { url, key = "", state = {}, save = async () => {} }) {
  const api = (path, options = {}) => {
    const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
    return answerOf(path.startsWith("/") ? `${url}${path}` : path, { ...options, headers });
  };
  // Each step is done once, also if the app was stopped in between
  const step = async (word, make) => {
    if (state[word] === undefined) {
      state[word] = await make();
      await save(state);
    }
    return state[word];
  };
  // Drawn and saved before anything is sent: with this key, two requests are one job
  const once = await step("key", async () => crypto.randomUUID());
  const job = await step("job", async () => {
    const { uploads } = await (await api("/limits")).json();
    return (uploads ? throughTheStore : asAForm)(photo, name, { api, step, once, state });
  });
  let body;
  do {
    body = await (await api(`/jobs/${job}?wait=30`)).json(); // a short connection each, which may break
  } while (body.status === "queued" || body.status === "running");
  if (body.status !== "succeeded") throw new Error(`${body.status}: ${body.error?.detail ?? ""}`);
  return (await api(body.result.url)).blob();
}

// PUT into the object store, and name the upload: the slow connection does not burden the API.
async function throughTheStore(photo, name, { api, step, once, state }) {
  if (!state.stored && state.upload && Date.parse(state.upload.put_until) < Date.now()) delete state.upload;
  const json = (fields, idempotency) => ({
    method: "POST",
    body: JSON.stringify(fields),
    headers: { "Content-Type": "application/json", ...(idempotency && { "Idempotency-Key": idempotency }) },
  });
  const upload = await step("upload", async () =>
    (await api("/uploads", json({ bytes: photo.size, file_name: name }))).json(),
  );
  await step("stored", async () => {
    await answerOf(upload.url, { method: "PUT", body: photo }); // from the beginning, if it breaks off
    return true;
  });
  return (await (await api("/restore", json({ upload: upload.id }, once))).json()).id;
}

async function asAForm(photo, name, { api, once }) {
  const form = new FormData();
  form.append("image", photo, name);
  const answer = await api("/restore", { method: "POST", body: form, headers: { "Idempotency-Key": once } });
  return (await answer.json()).id;
}

// A good answer.  Tries again after a lost connection, and where the service is busy.
async function answerOf(url, options) {
  for (let tries = 1; ; tries++) {
    let pause = Math.min(0.5 * 2 ** tries, 30) * (0.5 + Math.random());
    try {
      const answer = await fetch(url, options);
      // The whole body: a connection may break in the middle of a picture
      if (answer.ok) return new Response(await answer.blob(), { headers: answer.headers });
      pause = Number(answer.headers.get("Retry-After") ?? pause);
      const text = await answer.text();
      if (!RETRIED.includes(answer.status) || tries === MAX_TRIES) throw new Refused(answer.status, text);
    } catch (error) {
      if (error instanceof Refused || tries === MAX_TRIES) throw error;
    }
    await new Promise((done) => setTimeout(done, pause * 1000));
  }
}

class Refused extends Error {
  constructor(status, text) {
    const problem = text.startsWith("{") ? JSON.parse(text) : { detail: text };
    super(`${status} ${problem.code ?? ""}: ${problem.detail} ${problem.hint ?? ""}`);
  }
}

if (typeof process !== "undefined" && process.argv[1]?.endsWith("phone.mjs")) {
  const { readFile, rename, rm, writeFile } = await import("node:fs/promises");
  const [path, out, url = "http://127.0.0.1:8000", key] = process.argv.slice(2);
  const notes = `${path}.state.json`;
  const state = JSON.parse(await readFile(notes, "utf8").catch(() => "{}"));
  const save = async (now) => {
    await writeFile(`${notes}.new`, JSON.stringify(now));
    await rename(`${notes}.new`, notes); // never half a file
  };
  const photo = new Blob([await readFile(path)]);
  try {
    const picture = await restore(photo, path.split("/").pop(), { url, key, state, save });
    await writeFile(out, Buffer.from(await picture.arrayBuffer()));
    await rm(notes, { force: true });
    console.log(out);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
