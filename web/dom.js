// @ts-check
/** Makes and finds elements.  Text becomes text nodes only, so no string can become HTML. */

/**
 * Returns a new element.  `properties`: `class`, `dataset`, `on` (listeners), `aria-*` and other attributes with a dash,
 * and properties of the element; undefined, null and false attributes are left out.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string | number | null | undefined | false)} children
 * @returns {any}
 */
export function make(tag, properties = {}, ...children) {
  const element = /** @type {any} */ (document.createElement(tag));
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = value;
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "on") for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    else if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, String(value));
    else element[name] = value;
  }
  element.append(...children.filter((child) => child || child === 0).map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** @param {string} id @returns {any} */
export function byId(id) {
  return document.getElementById(id);
}

/**
 * Replaces the children of an element, and keeps the focus on the element with the same id or `data-key`.
 * @param {Element} parent
 * @param {...any} children
 */
export function fill(parent, ...children) {
  const focused = /** @type {any} */ (parent.contains(document.activeElement) ? document.activeElement : null);
  const mark = focused && (focused.id ? `#${CSS.escape(focused.id)}` : focused.dataset?.key && `[data-key="${CSS.escape(focused.dataset.key)}"]`);
  parent.replaceChildren(...children.filter(Boolean));
  if (mark && focused !== document.activeElement) /** @type {any} */ (parent.querySelector(mark))?.focus({ preventScroll: true });
}

/**
 * Tells screen readers something; `urgent` interrupts what they say.
 * @param {string} text
 * @param {boolean} [urgent]
 */
export function announce(text, urgent = false) {
  const region = byId(urgent ? "alert" : "status");
  if (region.textContent !== text) region.textContent = text;
}

/** @param {string} label @param {() => void} act @param {Record<string, any>} [more] */
export function button(label, act, more = {}) {
  return make("button", { type: "button", ...more, on: { click: act } }, label);
}

/** Offers a blob as a download. @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = make("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
