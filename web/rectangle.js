// @ts-check
/** A part of a photo: a rectangle in whole pixels of the upright photo, never empty and never outside of it. */

/**
 * @typedef {{x: number, y: number, width: number, height: number}} Rectangle
 * @typedef {{width: number, height: number}} Size
 * @typedef {{x: number, y: number}} Point
 */

const LEAST_PX = 32; // smaller parts show nothing

/** @param {number} value @param {number} least @param {number} most */
function within(value, least, most) {
  return Math.round(Math.max(least, Math.min(most, value)));
}

/** Returns a rectangle inside the photo: its size first, then its place. @param {Rectangle} part @param {Size} photo @returns {Rectangle} */
export function inside(part, photo) {
  const width = within(part.width, Math.min(LEAST_PX, photo.width), photo.width);
  const height = within(part.height, Math.min(LEAST_PX, photo.height), photo.height);
  return { x: within(part.x, 0, photo.width - width), y: within(part.y, 0, photo.height - height), width, height };
}

/** Returns a first proposal: half of each side, at most 512 px. @param {Size} photo @param {Point} center @returns {Rectangle} */
export function proposed(photo, center) {
  const [width, height] = [photo.width, photo.height].map((side) => Math.min(512, Math.round(side / 2)));
  return centered({ x: 0, y: 0, width, height }, center, photo);
}

/** @param {Rectangle} part @param {Point} center @param {Size} photo */
export function centered(part, center, photo) {
  return inside({ ...part, x: center.x - part.width / 2, y: center.y - part.height / 2 }, photo);
}

/** Returns the rectangle between two points of the photo. @param {Point} one @param {Point} other @param {Size} photo @returns {Rectangle} */
export function between(one, other, photo) {
  const [left, right] = [one.x, other.x].map((x) => within(x, 0, photo.width)).sort((a, b) => a - b);
  const [top, bottom] = [one.y, other.y].map((y) => within(y, 0, photo.height)).sort((a, b) => a - b);
  const part = inside({ x: left, y: top, width: right - left, height: bottom - top }, photo);
  return inside({ ...part, x: other.x < one.x ? right - part.width : left, y: other.y < one.y ? bottom - part.height : top }, photo);
}

/** Returns the corner opposite to a corner, such as "nw". @param {Rectangle} part @param {string} corner @returns {Point} */
export function opposite(part, corner) {
  return { x: part.x + (corner.includes("w") ? part.width : 0), y: part.y + (corner.includes("n") ? part.height : 0) };
}

/** Returns the value of the field `crop`. @param {Rectangle} part */
export function cropOf(part) {
  return [part.x, part.y, part.width, part.height].join(",");
}

/** @param {string} crop @returns {Rectangle} */
export function partOf(crop) {
  const [x, y, width, height] = crop.split(",").map(Number);
  return { x, y, width, height };
}
