// Restore a photo from TypeScript.  api.d.ts has the types of the service, generated from its /openapi.json:
//
//   npm install && npm run types && npm run build
//   npm run restore -- photo.jpg restored.jpg --strength 0.8
//
// UNDEGRADE_SERVER and UNDEGRADE_API_KEY name the server and the key.  Needs Node 20 or newer.

import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import type { components, operations } from "./api.js";

type Job = components["schemas"]["JobBody"];
type Problem = components["schemas"]["Problem"];
type Options = NonNullable<operations["restore"]["parameters"]["query"]>;

const server = (process.env.UNDEGRADE_SERVER ?? "http://127.0.0.1:8000").replace(/\/$/, "");
const key = process.env.UNDEGRADE_API_KEY;
const TRIES = 6;
const RETRIED = [408, 429, 500, 502, 503, 504, 507];

class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.detail} (${problem.code}). ${problem.hint ?? ""} [request ${problem.request_id}]`);
  }
}

/** Send a request, again where that may help.  Every try has the same Idempotency-Key, so there is one job. */
async function send(path: string, init: RequestInit & { headers?: Record<string, string> } = {}): Promise<Response> {
  const headers = { ...init.headers, ...(key === undefined ? {} : { Authorization: `Bearer ${key}` }) };
  for (let tries = 1; ; tries++) {
    let pauseS = Math.min(20, 0.5 * 2 ** tries) * (0.5 + Math.random() / 2);
    try {
      const answer = await fetch(server + path, { ...init, headers, signal: AbortSignal.timeout(90_000) });
      if (answer.ok) return answer;
      const body = await answer.text();
      if (!RETRIED.includes(answer.status) || tries === TRIES) throw new ApiError(JSON.parse(body) as Problem);
      pauseS = Number(answer.headers.get("Retry-After") ?? pauseS);
    } catch (error) {
      if (error instanceof ApiError || error instanceof SyntaxError || tries === TRIES) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pauseS * 1000));
  }
}

async function restore(photo: Uint8Array<ArrayBuffer>, options: Options): Promise<{ job: Job; image: Uint8Array }> {
  const form = new FormData();
  form.set("image", new Blob([photo]));
  for (const [name, value] of Object.entries(options)) {
    for (const entry of Array.isArray(value) ? value : [value]) form.append(name, String(entry));
  }
  const headers = { "Idempotency-Key": randomUUID(), Prefer: "wait=50" };
  let job = (await (await send("/restore", { method: "POST", body: form, headers })).json()) as Job;
  while (job.status === "queued" || job.status === "running") {
    job = (await (await send(`/jobs/${job.id}?wait=50`)).json()) as Job;
  }
  if (job.status !== "succeeded") throw new Error(`the job ${job.status}: ${job.error?.detail ?? "no reason"}`);
  return { job, image: new Uint8Array(await (await send(`/jobs/${job.id}/result`)).arrayBuffer()) };
}

const [source, target, ...words] = process.argv.slice(2);
if (source === undefined || target === undefined) {
  console.error("usage: restore PHOTO RESULT [--strength S] [--only NAME]");
  process.exit(2);
}
const options: Options = {};
for (let at = 0; at + 1 < words.length; at += 2) {
  if (words[at] === "--strength") options.strength = Number(words[at + 1]);
  else if (words[at] === "--only") options.only = [words[at + 1] as NonNullable<Options["only"]>[number]];
}
try {
  const { job, image } = await restore(new Uint8Array(await readFile(source)), options);
  await writeFile(target, image);
  for (const { name, probability } of job.degradations) console.log(`${name} ${probability.toFixed(2)}`);
  console.log(`repaired: ${job.passes.filter((pass) => pass.kept).map((pass) => pass.label).join(", ") || "nothing"}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
