// @ts-check
/** Light or dark: that of the system, or the user's choice. */
import { byId } from "./dom.js";

const STORED = "undegrade.theme";

export function start() {
  const select = byId("theme");
  let chosen = "auto";
  try {
    chosen = localStorage.getItem(STORED) ?? "auto";
  } catch {
    // the browser keeps nothing for this page
  }
  select.value = ["light", "dark"].includes(chosen) ? chosen : "auto";
  use(select.value);
  select.addEventListener("change", () => {
    use(select.value);
    try {
      localStorage.setItem(STORED, select.value);
    } catch {
      // as above
    }
  });
}

/** @param {string} theme */
function use(theme) {
  document.documentElement.dataset.theme = theme;
}
