/**
 * A program with a name server of its own, which knows one name and never answers about others. It
 * runs in a mount namespace, where it writes /etc/resolv.conf after the first lookup.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { openOutgoing } from "../../src/adapters/outgoing.ts";

const IP = "127.0.0.99";
const HEADER_BYTES = 12;
const A_RECORD = 1;
const server = createSocket("udp4");
server.on("message", (query, { port, address }) => {
  if (!query.includes("known")) return;
  // The question is a name, which ends with a zero, and two numbers: type and class.
  const end = query.indexOf(0, HEADER_BYTES) + 5;
  const isIPv4 = query.readUInt16BE(end - 4) === A_RECORD;
  const header = Buffer.from([
    ...query.subarray(0, 2),
    0x81,
    0x80,
    0,
    1,
    0,
    Number(isIPv4),
    0,
    0,
    0,
    0,
  ]);
  const answer = Buffer.from([
    0xc0,
    HEADER_BYTES,
    0,
    A_RECORD,
    0,
    1,
    0,
    0,
    0,
    0,
    0,
    4,
    10,
    0,
    0,
    1,
  ]);
  const parts = [header, query.subarray(HEADER_BYTES, end), ...(isIPv4 ? [answer] : [])];
  server.send(Buffer.concat(parts), port, address);
});
server.bind(53, IP);
await once(server, "listening");

const { post } = openOutgoing(
  { webhooksAllow: [], webhooksAllowPrivate: false },
  { now: () => new Date() },
);
const failureOf = async (name: string) => {
  const outcome = await post(`https://${name}.example.com/`, { headers: {}, body: "{}" });
  return "failure" in outcome ? outcome.failure : outcome.status;
};

const before = await failureOf("known");
writeFileSync("/etc/resolv.conf", `nameserver ${IP}\n`);
await failureOf("known");
const after = await failureOf("known");
const order: string[] = [];
const note = (what: string) => () => void order.push(what);
const posts = Array.from({ length: 20 }, (_, at) => failureOf(`n${at}`).then(note("post")));
const cost = { algorithm: "argon2id", memoryCost: 8, timeCost: 1 } as const;
await Bun.password.hash("correct horse", cost).then(note("hash"));
await Promise.all(posts);
console.log(JSON.stringify({ before, after, first: order[0] }));
process.exit(0);
