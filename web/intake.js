// @ts-check
/** Ways in: drop, paste, choose, take, samples. */
import { byId, make } from "./dom.js";
import { size, t } from "./i18n.js";
import { Item, items } from "./items.js";
import { server } from "./server.js";
import { notice } from "./notices.js";

const SAMPLES = ["noise", "haze", "rain", "low-light"];

export function start() {
  const file = byId("file");
  const camera = byId("camera");
  byId("choose").addEventListener("click", () => file.click());
  byId("take").addEventListener("click", () => camera.click());
  for (const input of [file, camera]) input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) { event.preventDefault(); take(files); }
  });
  listenForDrops();
  byId("samples").replaceChildren(...SAMPLES.map((name) => make("li", {}, sample(name))));
}

/** Opens the dialog of files. */
export function choose() {
  byId("file").click();
}

function listenForDrops() {
  const veil = byId("veil");
  let depth = 0; // enter and leave come for each child
  const carriesFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => { if (carriesFiles(event)) { depth += 1; veil.hidden = false; } });
  document.addEventListener("dragleave", (event) => { if (carriesFiles(event) && --depth <= 0) veil.hidden = true; });
  document.addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    depth = 0;
    veil.hidden = true;
    if (!carriesFiles(event)) return;
    event.preventDefault();
    take([...(event.dataTransfer?.files ?? [])]);
  });
}

/** @param {string} name */
function sample(name) {
  const address = new URL(`./samples/${name}.jpg`, import.meta.url).href;
  const open = async () => {
    try {
      const response = await fetch(address);
      if (!response.ok) throw new Error(String(response.status));
      take([new File([await response.blob()], `${name}.jpg`, { type: "image/jpeg" })]);
    } catch {
      notice("error", t("error.no-answer"), t("error.no-answer.hint"));
    }
  };
  return make("button", { type: "button", class: "sample", dataset: { key: name }, on: { click: open } },
    make("img", { src: address, alt: "", width: 384, height: 288, loading: "lazy" }),
    make("span", { dataset: { i18n: `degradation.${name}` } }, t(`degradation.${name}`)));
}

/** Adds files, except those that the server would refuse. @param {File[]} files */
export function take(files) {
  const refused = files.filter((file) => why(file));
  const good = files.filter((file) => !why(file));
  for (const file of refused) notice("error", t("file.refused", { name: file.name || t("file.unnamed") }), why(file));
  if (good.length) items.add(good.map((file) => new Item(file, file.name || `photo.${file.type.split("/")[1] ?? "jpg"}`)));
}

/** @param {File} file @returns {string} why a file cannot be sent, or "" */
function why(file) {
  if (!file.size) return t("file.empty");
  const known = !file.type || file.type.startsWith("image/") || file.type === "application/octet-stream";
  if (!known) return t("file.type", { type: file.type });
  const most = server.limits?.max_bytes;
  return most && file.size > most ? t("file.large", { size: size(file.size), most: size(most) }) : "";
}
