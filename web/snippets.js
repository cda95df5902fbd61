// @ts-check
/** The request of a photo as a command of a shell, and as a program in Python. */

/**
 * @typedef {{base: string, name: string, output: string, fields: Record<string, string | string[]>, key: boolean}} Call
 * `base` ends with a slash; `key`: the server wants an API key, which stands in UNDEGRADE_API_KEY, never in the text
 */

/** @param {string} text */
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param {Call} call */
export function curl({ base, name, output, fields, key }) {
  const parts = ["curl -f -H 'Accept: image/*'"];
  if (key) parts.push('-H "X-API-Key: $UNDEGRADE_API_KEY"');
  parts.push(`-F ${quoted(`image=@"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`)}`);
  for (const [field, value] of pairs(fields)) parts.push(`${/[@<;"]/.test(value) ? "--form-string" : "-F"} ${quoted(`${field}=${value}`)}`);
  parts.push(quoted(`${base}restore`), `-o ${quoted(output)}`);
  return parts.join(" \\\n  ");
}

/** @param {Call} call */
export function python({ base, name, output, fields, key }) {
  const text = JSON.stringify; // a string of JSON is one of Python
  const data = Object.entries(fields).map(([field, value]) => `${text(field)}: ${Array.isArray(value) ? `[${value.map((entry) => text(entry)).join(", ")}]` : text(value)}`);
  const header = key ? '{"Accept": "image/*", "X-API-Key": os.environ["UNDEGRADE_API_KEY"]}' : '{"Accept": "image/*"}';
  return [
    ...(key ? ["import os", ""] : []),
    "import httpx  # pip install httpx", "",
    `with open(${text(name)}, "rb") as photo:`,
    "    response = httpx.post(",
    `        ${text(`${base}restore`)}, files={"image": photo},`,
    `        data={${data.join(", ")}},`,
    `        headers=${header}, timeout=90,`,
    "    )",
    "response.raise_for_status()",
    `with open(${text(output)}, "wb") as result:`,
    "    result.write(response.content)",
  ].join("\n");
}

/** @param {Record<string, string | string[]>} fields @returns {[string, string][]} */
function pairs(fields) {
  return Object.entries(fields).flatMap(([field, value]) => [value].flat().map((entry) => /** @type {[string, string]} */ ([field, entry])));
}
