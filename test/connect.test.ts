/** A mail server or a message queue whose host name has several IPs. */
import { afterEach, expect, mock, spyOn, test } from "bun:test";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { openBroker } from "../src/adapters/broker.ts";
import { connectToHost } from "../src/adapters/connect.ts";
import { openMail } from "../src/adapters/mail.ts";
import { nats } from "./support/brokers.ts";
import { needs } from "./support/needs.ts";
import { mailServer, SECRET_WORD, USER } from "./support/smtp.ts";

const HOST = "several.example.com";
const MAX_MS = 1_000;

afterEach(() => mock.restore());
const resolveTo = (...ips: string[]) =>
  spyOn(Bun.dns, "lookup").mockImplementation(async () =>
    ips.map((address) => ({ address, family: address.includes(":") ? 6 : 4, ttl: 60 })),
  );

/** Connects like a socket. An IP that is not in `replies` is silent. */
async function tryToConnect(replies: Record<string, number | "refuses">) {
  const tried: string[] = [];
  const startedAt = performance.now();
  const outcome = await connectToHost(HOST, MAX_MS, async (ip, maxMs) => {
    tried.push(ip);
    const reply = replies[ip];
    if (reply === "refuses") throw new Error(`${ip} refuses`);
    await sleep(Math.min(reply ?? maxMs, maxMs));
    if (reply === undefined || reply > maxMs) throw new Error(`${ip} is silent`);
    return ip;
  }).catch((error) => error.message);
  return { outcome, tried, ms: performance.now() - startedAt };
}

test("an IP may take its time, although a later one refuses", async () => {
  resolveTo("::1", "127.0.0.1");
  const { outcome, tried } = await tryToConnect({ "127.0.0.1": 400, "::1": "refuses" });
  expect([outcome, tried]).toEqual(["127.0.0.1", ["127.0.0.1"]]);
});

test("a silent IP leaves time for the next one", async () => {
  resolveTo("127.0.0.1", "127.0.0.2");
  expect((await tryToConnect({ "127.0.0.2": 400 })).outcome).toBe("127.0.0.2");
});

test("an IP that refuses leaves its time to the next one", async () => {
  resolveTo("127.0.0.1", "127.0.0.2");
  const { outcome } = await tryToConnect({ "127.0.0.1": "refuses", "127.0.0.2": 800 });
  expect(outcome).toBe("127.0.0.2");
});

test("without success, the error is that of the first IP, in time", async () => {
  resolveTo("127.0.0.1", "127.0.0.2", "::1");
  const { outcome, tried, ms } = await tryToConnect({ "::1": "refuses" });
  expect([outcome, tried.length]).toEqual(["127.0.0.1 is silent", 3]);
  expect(ms).toBeLessThan(MAX_MS + 200);
});

test("a host without an IP, and a name server that does not reply, are errors with a code", async () => {
  const reasonOf = (maxMs: number) =>
    connectToHost(HOST, maxMs, async () => "").catch((error) => error.code);
  resolveTo();
  expect(await reasonOf(MAX_MS)).toBe("ENODATA");
  spyOn(Bun.dns, "lookup").mockImplementation(() => new Promise(() => {}));
  expect(await reasonOf(50)).toBe("ETIMEDOUT");
});

test("a mail goes to the second IP of a mail server, if the first refuses", async () => {
  const server = await mailServer();
  // Nothing listens there.
  resolveTo("127.0.0.3", "127.0.0.1");
  const { scheme, port, caFile } = server;
  const url = `${scheme}://${USER}:${encodeURIComponent(SECRET_WORD)}@localhost:${port}`;
  const transport = await openMail(url, { caFile });
  const mail = { from: { name: "", address: "a@example.com" }, to: "b@example.com" };
  await transport.send({ ...mail, subject: "s", text: "t", html: "h", messageId: "1@example.com" });
  expect(server.received.length).toBe(1);
  transport.close();
  await server.close();
});

needs("nats-server").test("a message queue is used although its first IP is silent", async () => {
  const server = await nats();
  const silent = createServer(() => {});
  await new Promise<void>((done) => silent.listen(server.port, "127.0.0.2", done));
  resolveTo("127.0.0.2", "127.0.0.1");
  const broker = openBroker(`nats://${HOST}:${server.port}`);
  const event = { id: crypto.randomUUID(), type: "user.created", time: new Date(0), body: "{}" };
  await broker.publish([event]);
  await broker.close();
  silent.close();
  await server.kill();
});
