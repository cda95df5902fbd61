// Receive webhooks with Node 20, without packages:  WEBHOOK_SECRET=whsec_... PORT=3000 node webhook_receiver.mjs
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const KEY = Buffer.from((process.env.WEBHOOK_SECRET ?? "").replace(/^whsec_/, ""), "base64");
if (KEY.length < 24) throw new Error("WEBHOOK_SECRET is not set: undegrade keys webhook-secret KEY_ID prints it");
const TOLERANCE_S = 300;
const MAX_BYTES = 100_000;
const seen = new Set(); // a real receiver keeps the ids of a day in its database

// Whether a webhook was signed with our secret in the last five minutes.  `body` is a Buffer: the bytes as they came.
function isGenuine(headers, body) {
  const age = Date.now() / 1000 - Number(headers["webhook-timestamp"]);
  if (!(Math.abs(age) <= TOLERANCE_S)) return false;
  const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`;
  const expected = createHmac("sha256", KEY).update(signed).update(body).digest();
  return (headers["webhook-signature"] ?? "").split(" ").some((one) => {
    const given = Buffer.from(one.replace(/^v1,/, ""), "base64");
    return one.startsWith("v1,") && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

async function bodyOf(request) {
  const parts = [];
  let bytes = 0;
  for await (const part of request) {
    parts.push(part);
    if ((bytes += part.length) > MAX_BYTES) throw new Error("the body is too large");
  }
  return Buffer.concat(parts);
}

const server = createServer(async (request, answer) => {
  try {
    const body = await bodyOf(request);
    if (request.method !== "POST" || !isGenuine(request.headers, body)) {
      answer.writeHead(401).end();
      return;
    }
    answer.writeHead(204).end(); // at once: an answer after 15 s counts as none, and the webhook comes again
    const id = request.headers["webhook-id"];
    if (seen.has(id)) return;
    seen.add(id);
    const message = JSON.parse(body);
    console.log(message.type, message.data.id); // now fetch message.data.links.result with your API key
  } catch (error) {
    console.error(error.message);
    if (!answer.headersSent) answer.writeHead(400).end();
  }
});
server.listen(Number(process.env.PORT ?? 3000), "127.0.0.1");
