// @ts-check
/** Makes a zip archive of stored files (APPNOTE 6.3): photos are compressed already. */

const UTF8 = 0x0800;
const TABLE = new Uint32Array(256).map((_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** Returns the CRC-32 of bytes. @param {Uint8Array} bytes */
export function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/**
 * Returns the archive.  Together at most 4 GB, as zip without its 64-bit fields.
 * @param {{name: string, blob: Blob}[]} files
 * @param {Date} [when]
 * @returns {Promise<Blob>}
 */
export async function zip(files, when = new Date()) {
  const parts = /** @type {BlobPart[]} */ ([]);
  const directory = /** @type {Uint8Array[]} */ ([]);
  let offset = 0;
  for (const { name, blob } of unique(files)) {
    const text = new TextEncoder().encode(name);
    const crc = crc32(new Uint8Array(await blob.arrayBuffer()));
    const shared = [20, UTF8, 0, clock(when), day(when)]; // version, flags, method, time, date
    const local = record([[4, 0x04034b50], ...shared.map(two), [4, crc], [4, blob.size], [4, blob.size], two(text.length), two(0)], text);
    directory.push(record([[4, 0x02014b50], two(20), ...shared.map(two), [4, crc], [4, blob.size], [4, blob.size], two(text.length), ...Array(4).fill(two(0)), [4, 0], [4, offset]], text));
    parts.push(/** @type {BlobPart} */ (local), blob);
    offset += local.length + blob.size;
  }
  const size = directory.reduce((sum, entry) => sum + entry.length, 0);
  const end = record([[4, 0x06054b50], two(0), two(0), two(directory.length), two(directory.length), [4, size], [4, offset], two(0)]);
  return new Blob([...parts, .../** @type {BlobPart[]} */ (directory), /** @type {BlobPart} */ (end)], { type: "application/zip" });
}

/** @param {number} value @returns {[number, number]} */
function two(value) {
  return [2, value];
}

/** Returns numbers of so many bytes each, little-endian, and the name after them. @param {number[][]} numbers @param {Uint8Array} [name] */
function record(numbers, name = new Uint8Array()) {
  const bytes = new Uint8Array(numbers.reduce((sum, [width]) => sum + width, 0) + name.length);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [width, value] of numbers) {
    if (width === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += width;
  }
  bytes.set(name, at);
  return bytes;
}

/** @param {Date} when */
function clock(when) {
  return (when.getHours() << 11) | (when.getMinutes() << 5) | (when.getSeconds() >> 1);
}

/** @param {Date} when */
function day(when) {
  return (Math.max(0, when.getFullYear() - 1980) << 9) | ((when.getMonth() + 1) << 5) | when.getDate();
}

/** Gives files of the same name a number, and names no folders. @param {{name: string, blob: Blob}[]} files */
function unique(files) {
  const seen = new Map();
  return files.map(({ name, blob }) => {
    const plain = name.replace(/[\\/]/g, "_");
    const count = (seen.get(plain) ?? 0) + 1;
    seen.set(plain, count);
    return { blob, name: count === 1 ? plain : plain.replace(/(\.[^.]*)?$/, `-${count}$1`) };
  });
}
