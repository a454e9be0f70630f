/** WebSockets that have not authenticated yet: how many there may be, in all and of one client. */
import { expect, test } from "bun:test";
import { streamWorld } from "../support/stream-world.ts";

const PATH = "/users/me/events/ws";
const handshake = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};
const behindProxy = { rateLimit: "off" as const, trustedProxies: ["127.0.0.1"] };
const clientIp = (ip: string) => ({ "x-forwarded-for": ip });

test("1,000 connections may wait for authentication, and delay no authenticated one", async () => {
  const { newUser, socket, send } = await streamWorld(behindProxy);
  const ada = await newUser();
  const waiting = Array.from({ length: 1_000 }, (_, at) =>
    socket(PATH, undefined, clientIp(`198.51.100.${at % 10}`)),
  );
  expect((await Promise.all(waiting)).filter(({ isOpen }) => !isOpen)).toEqual([]);
  const { status, body } = await send("GET", `/api/v1${PATH}`, { headers: handshake });
  expect([status, body.code]).toEqual([503, "streams_unavailable"]);
  expect((await socket(PATH, ada.token)).isOpen).toBe(true);
  (await waiting[0])?.close();
  await Bun.sleep(100);
  expect((await socket(PATH, undefined)).isOpen).toBe(true);
});

test("100 connections of one client may wait for authentication, and block no other client", async () => {
  const { newUser, socket, url } = await streamWorld(behindProxy);
  const ada = await newUser();
  const [own, sameNetwork] = [clientIp("2001:db8::1"), clientIp("2001:db8::2:0:0:1")];
  const waiting = await Promise.all(
    Array.from({ length: 100 }, () => socket(PATH, undefined, own)),
  );
  expect(waiting.filter(({ isOpen }) => !isOpen)).toEqual([]);
  for (const headers of [own, sameNetwork]) {
    expect((await socket(PATH, undefined, headers)).isOpen).toBe(false);
    const refused = await fetch(url + PATH, { headers: { ...handshake, ...headers } });
    const { code } = (await refused.json()) as { code: string };
    const retryAfter = refused.headers.get("retry-after");
    expect([refused.status, code, retryAfter]).toEqual([429, "too_many_streams", "2"]);
  }
  expect((await socket(PATH, undefined, clientIp("2001:db8:0:1::1"))).isOpen).toBe(true);
  expect((await socket(PATH, ada.token, own)).isOpen).toBe(true);

  waiting[0]?.close();
  waiting[1]?.send({ type: "authenticate", token: ada.token });
  await Bun.sleep(100);
  const more = [0, 1, 2].map(() => socket(PATH, undefined, own));
  expect((await Promise.all(more)).filter(({ isOpen }) => isOpen)).toHaveLength(2);
});
