// @ts-check
/** A word that stands on a button for a moment. */
import { announce, byId } from "./dom.js";

/** Shows a word on a button for two seconds. @param {string} id @param {string} text */
export function flash(id, text) {
  const target = byId(id);
  announce(text);
  if (!target) return;
  const before = target.textContent;
  target.textContent = text;
  setTimeout(() => { if (target.textContent === text) target.textContent = before; }, 2000);
}
