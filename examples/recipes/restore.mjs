// Restore a photo with fetch, in Node 20 or (from `restore` on) in a browser:
//   node restore.mjs photo.jpg restored.jpg [URL] [API key]

export async function restore(photo, url = "http://127.0.0.1:8000", key = "") {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const form = new FormData();
  form.append("image", photo);
  let answer = await fetch(`${url}/restore`, { method: "POST", body: form, headers });
  if (!answer.ok) throw new Error(await problemText(answer));
  let job = await answer.json();
  while (job.status === "queued" || job.status === "running") {
    answer = await fetch(`${url}/jobs/${job.id}?wait=30`, { headers });
    if (!answer.ok) throw new Error(await problemText(answer));
    job = await answer.json();
  }
  if (job.status !== "succeeded") throw new Error(`${job.status}: ${job.error?.detail ?? ""}`);
  const picture = await fetch(url + job.result.url, { headers });
  if (!picture.ok) throw new Error(await problemText(picture));
  return { job, picture: await picture.blob() };
}

async function problemText(answer) {
  const { status, code, detail, hint } = await answer.json();
  return `${status} ${code}: ${detail} ${hint ?? ""}`;
}

if (typeof process !== "undefined" && process.argv[1]?.endsWith("restore.mjs")) {
  const { readFile, writeFile } = await import("node:fs/promises");
  const [photo, out, url, key] = process.argv.slice(2);
  const { job, picture } = await restore(new Blob([await readFile(photo)]), url, key);
  await writeFile(out, Buffer.from(await picture.arrayBuffer()));
  const repaired = job.passes.filter((entry) => entry.kept).map((entry) => entry.label);
  console.log(`${out}: repaired ${repaired.join(", ") || "nothing"}`);
}
