/** The WebSocket of events: handshake, authentication, and what closes it. */
import { expect, test } from "bun:test";
import { connect, type Socket as TcpSocket } from "node:net";
import { transaction } from "../../src/db/transaction.ts";
import { record } from "../../src/modules/events/events.ts";
import { closes } from "../../src/modules/streams/protocol.ts";
import { streamWorld } from "../support/stream-world.ts";
import { openSocket, type Socket } from "../support/streams.ts";
import { until } from "../support/until.ts";

const PATH = "/users/me/events/ws";
const CURSOR = "0".repeat(32);

const closedBy = async (socket: Socket): Promise<number | undefined> => {
  await until(() => socket.closed !== undefined);
  return socket.closed?.code;
};
const subscribed = async (socket: Socket) => {
  socket.send({ type: "subscribe", events: "*" });
  await until(() => socket.messages.length > 0 || socket.closed !== undefined);
  return socket.messages[0]?.type;
};

test("a client authenticates by header, by subprotocol, or by its first message", async () => {
  const { newUser, socket, url, ctx } = await streamWorld();
  const ada = await newUser();
  expect(await subscribed(await socket(PATH, ada.token))).toBe("subscribed");

  const protocols = ["bunker.v1", `bearer.${ada.token}`];
  for (const offered of [protocols, protocols.toReversed()]) {
    const browser = await openSocket(url + PATH, { protocols: offered });
    expect(browser.protocol()).toBe("bunker.v1");
    expect(await subscribed(browser)).toBe("subscribed");
    browser.close();
  }
  const late = await socket(PATH, undefined);
  late.send({ type: "authenticate", token: ada.token });
  // It need not wait for an answer.
  expect(await subscribed(late)).toBe("subscribed");
  expect(ctx.streams.counts().open.websocket).toBeGreaterThan(1);
});

test("a token that is not valid, or in the URL, opens no WebSocket", async () => {
  const { newUser, socket, url } = await streamWorld();
  const ada = await newUser();
  expect((await socket(PATH, "x")).isOpen).toBe(false);
  const protocols = ["bunker.v1", "bearer.x"];
  expect((await openSocket(url + PATH, { protocols })).isOpen).toBe(false);
  const late = await socket(PATH, undefined);
  late.send({ type: "authenticate", token: "x" });
  expect(await closedBy(late)).toBe(4401);
  const inUrl = await socket(`${PATH}?access_token=${ada.token}`, undefined);
  if (inUrl.isOpen) inUrl.send({ type: "subscribe", events: "*" });
  expect([4401, 1002]).toContain((await closedBy(inUrl)) ?? 0);
});

const handshake = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

test("a handshake needs a known origin, and a subprotocol that we speak if it offers any", async () => {
  const { newUser, send, url, socket } = await streamWorld({
    publicUrl: "https://accounts.example.com",
    corsOrigins: ["https://app.example.com"],
    environment: "production",
  });
  const ada = await newUser();
  const refusal = async (headers: Record<string, string>) => {
    const authorization = `Bearer ${ada.token}`;
    const all = { authorization, ...handshake, ...headers };
    const { status, body } = await send("GET", `/api/v1${PATH}`, { headers: all });
    return [status, body.code];
  };
  const others = [
    "https://evil.example",
    "http://accounts.example.com",
    "https://accounts.example.com.evil.example",
    "http://localhost:3000",
    "null",
    "",
  ];
  for (const origin of others)
    expect(await refusal({ origin })).toEqual([403, "cross_site_request"]);
  for (const origin of ["https://accounts.example.com", "https://app.example.com"])
    expect((await socket(PATH, ada.token, { origin })).isOpen).toBe(true);
  for (const offered of [["other"], [`bearer.${ada.token}`], ["bunker.v2", "chat"]])
    expect(await refusal({ "sec-websocket-protocol": offered.join(", ") })).toEqual([
      422,
      "invalid_request",
    ]);
  expect(await refusal({ upgrade: "h2c" })).toEqual([426, "upgrade_required"]);
  const plain = await fetch(url + PATH, { headers: { authorization: `Bearer ${ada.token}` } });
  expect([plain.status, plain.headers.get("upgrade")]).toEqual([426, "websocket"]);
});

test("in development, pages on any port of this machine may open a WebSocket", async () => {
  const { newUser, socket } = await streamWorld({ environment: "development" });
  const ada = await newUser();
  const origin = "http://localhost:5173";
  expect((await socket(PATH, ada.token, { origin })).isOpen).toBe(true);
  const other = "http://evil.example:5173";
  expect((await socket(PATH, ada.token, { origin: other })).isOpen).toBe(false);
});

const bad: Record<string, [message: string | Uint8Array, code: number]> = {
  "binary data": [new Uint8Array([123, 125]), 1003],
  "64 KiB and one byte": [JSON.stringify({ type: "x".repeat((64 << 10) - 10) }), 1009],
  "invalid JSON": ["{secret", 4400],
  "no object": ["[]", 4400],
  null: ["null", 4400],
  "no type": ["{}", 4400],
  "an unknown type": ['{"type":"secret"}', 4400],
  "an unknown member": ['{"type":"subscribe","events":"*","secret":1}', 4400],
  "no events": ['{"type":"subscribe"}', 4400],
  "an empty list": ['{"type":"subscribe","events":[]}', 4400],
  "an unknown event type": ['{"type":"subscribe","events":["user.created","secret"]}', 4400],
  "an event type of the prototype": ['{"type":"subscribe","events":["constructor"]}', 4400],
  "a number of events": ['{"type":"subscribe","events":[7]}', 4400],
  "an invalid cursor": ['{"type":"subscribe","events":"*","after":"secret"}', 4400],
  "a cursor that is null": ['{"type":"subscribe","events":"*","after":null}', 4400],
  "another authentication": ['{"type":"authenticate","token":"secret"}', 4400],
  "a token that is a number": ['{"type":"authenticate","token":7}', 4400],
};

test("invalid messages close the connection with a code, and a reason without their text", async () => {
  const { newUser, socket, ctx } = await streamWorld();
  const ada = await newUser();
  for (const [name, [message, code]] of Object.entries(bad)) {
    const one = await socket(PATH, ada.token);
    one.sendRaw(message);
    expect([name, await closedBy(one)]).toEqual([name, code]);
    expect(one.closed?.reason).not.toContain("secret");
    expect(one.messages).toEqual([]);
  }
  await until(() => ctx.streams.counts().open.websocket === 0);
});

test("a message of exactly 64 KiB is read", async () => {
  const { newUser, socket } = await streamWorld();
  const ada = await newUser();
  const one = await socket(PATH, ada.token);
  const text = '{"type":"subscribe","events":"*"}';
  one.sendRaw(text + " ".repeat((64 << 10) - text.length));
  await until(() => one.messages.length > 0 || one.closed !== undefined);
  expect(one.messages[0]?.type).toBe("subscribed");
});

test("a connection has one subscription, and 10,000 of them close it", async () => {
  const { newUser, socket } = await streamWorld();
  const ada = await newUser();
  const twice = await socket(PATH, ada.token);
  twice.send({ type: "subscribe", events: "*" });
  twice.send({ type: "subscribe", events: "*" });
  expect(await closedBy(twice)).toBe(4400);
  const many = await socket(PATH, undefined);
  many.send({ type: "authenticate", token: ada.token });
  for (let at = 0; at < 10_000; at += 1) many.send({ type: "subscribe", events: "*" });
  expect([4400, 4429]).toContain((await closedBy(many)) ?? 0);
  const long = await socket(PATH, ada.token);
  long.send({ type: "subscribe", events: Array.from({ length: 4_000 }, () => "user.created") });
  await until(() => long.messages.length > 0 || long.closed !== undefined);
  expect(long.messages.length + (long.closed ? 1 : 0)).toBe(1);
});

test("a flood of messages closes the connection, while a token is checked, too", async () => {
  const { newUser, socket } = await streamWorld();
  const ada = await newUser();
  const one = await socket(PATH, undefined);
  for (let at = 0; at < 100; at += 1) one.send({ type: "authenticate", token: ada.token });
  expect([4400, 4429]).toContain((await closedBy(one)) ?? 0);
});

test("a client that does not authenticate has 5 seconds, and can subscribe to nothing", async () => {
  const { socket, ctx } = await streamWorld();
  const silent = await socket(PATH, undefined);
  const at = performance.now();
  const hasty = await socket(PATH, undefined);
  hasty.send({ type: "subscribe", events: "*" });
  expect(await closedBy(hasty)).toBe(4401);
  expect(await closedBy(silent)).toBe(4401);
  expect(performance.now() - at).toBeWithin(4_000, 7_000);
  expect(ctx.streams.counts().open.websocket).toBe(0);
}, 15_000);

test("a cursor beyond retention closes with 4410", async () => {
  const { newUser, socket, sql } = await streamWorld();
  const ada = await newUser();
  await sql`insert into event_cursors (name, transaction_id, position)
    select 'purged', transaction_id, position from events order by transaction_id desc, position desc limit 1`;
  const one = await socket(PATH, ada.token);
  one.send({ type: "subscribe", events: "*", after: CURSOR });
  expect(await closedBy(one)).toBe(4410);
  expect(one.messages).toEqual([]);
  await sql`delete from event_cursors`;
});

test("docs/events.md lists the close codes", async () => {
  const page = await Bun.file("docs/events.md").text();
  const listed = [...page.matchAll(/^\| (\d{4}) \|/gm)].map(([, code]) => Number(code));
  // Bun itself refuses large messages.
  const codes = new Set([1009, ...Object.values(closes).map(({ code }) => code)]);
  expect(listed).toEqual([...codes].sort((a, b) => a - b));
});

/** A client that reads nothing after the head of the response. */
async function unreading(port: number, request: string): Promise<TcpSocket> {
  const socket = connect(port, "127.0.0.1");
  await new Promise((done) => socket.once("connect", done));
  socket.write(request);
  await new Promise((done) => socket.once("data", done));
  socket.pause();
  return socket;
}

/** A masked text frame with a zero mask. */
function frameOf(text: string): Buffer {
  const payload = Buffer.from(text);
  const head = Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]);
  return Buffer.concat([head, payload]);
}

test("slow readers are disconnected, and the others get every event", async () => {
  const { ctx, newUser, server, socket } = await streamWorld();
  const ada = await newUser();
  const { port = 0 } = server;
  const head = `Host: localhost\r\nAuthorization: Bearer ${ada.token}\r\n`;
  const sse = await unreading(port, `GET /api/v1/users/me/events/stream HTTP/1.1\r\n${head}\r\n`);
  const upgrade = Object.entries(handshake).map(([name, value]) => `${name}: ${value}\r\n`);
  const ws = await unreading(port, `GET /api/v1${PATH} HTTP/1.1\r\n${head}${upgrade.join("")}\r\n`);
  ws.write(frameOf('{"type":"subscribe","events":"*"}'));
  const fast = await socket(PATH, ada.token);
  expect(await subscribed(fast)).toBe("subscribed");
  // Large events fill the buffers of the kernel, too.
  const fields = Array.from({ length: 1_000 }, () => "x".repeat(50));
  const event = { type: "user.updated" as const, subjectId: ada.id, data: { fields } };
  let count = 0;
  while (ctx.streams.counts().ended.slow_reader < 2 && count < 1_000) {
    await transaction(ctx, (tx) => record(tx, { kind: "operator" }, [event, event, event, event]));
    count += 4;
    await until(() => fast.events.length >= count);
  }
  expect(ctx.streams.counts().ended.slow_reader).toBe(2);
  expect(fast.closed).toBeUndefined();
  let tail = Buffer.alloc(0);
  ws.on("data", (chunk: Buffer) => {
    tail = Buffer.concat([tail, chunk]).subarray(-125);
  });
  ws.resume();
  await new Promise((done) => ws.once("close", done));
  const reason = tail.toString("latin1");
  expect(tail.readUInt16BE(tail.indexOf("The client") - 2)).toBe(4408);
  expect(reason).toMatch(/reads too slowly; resume after [0-9a-f]{32}$/);
  // The rest of the stream of server-sent events can still be read for some seconds.
  sse.resume();
  await new Promise((done) => sse.once("close", done));
}, 60_000);
