import { describe, expect, test } from "bun:test";
import type { Socket } from "node:net";
import { openOutgoing } from "../src/adapters/outgoing.ts";
import { answering, bodyIn, head, receiver, resultOf } from "./support/receiver.ts";
import { until } from "./support/until.ts";

const now = () => new Date("2026-11-28T12:00:00Z");
const message = { headers: { "webhook-id": "1" }, body: "{}" };
const anywhere = { webhooksAllow: [], webhooksAllowPrivate: true };
const outgoing = openOutgoing(anywhere, { now });
const post = (url: string) => outgoing.post(url, message);

describe("a receiver", () => {
  test("gets headers and body, and no word of Bun", async () => {
    const { url, received } = await answering("ok");
    expect(await post(url)).toMatchObject({ status: 200, body: "ok" });
    const [request = ""] = received;
    expect(request).toContain("webhook-id: 1\r\n");
    expect(request).toMatch(/user-agent: bunker\/\S+\r\n/i);
    expect(request).toMatch(/accept-encoding: identity\r\n/i);
    expect(request).toEndWith("\r\n\r\n{}");
    expect(request).not.toMatch(/cookie|authorization|Bun\//);
  });

  test("that hangs or drips is given up after 5 seconds, and its connection closed", async () => {
    const drip = (text: string) => (socket: Socket) => {
      const timer = setInterval(() => socket.write(text), 100);
      socket.on("close", () => clearInterval(timer));
    };
    const hanging = await receiver(() => {});
    const dripping = await receiver((socket) => {
      socket.write("HTTP/1.1 200 OK\r\n");
      drip("a: b\r\n")(socket);
    });
    const early = await receiver(drip(head("100 Continue")));
    const body = await receiver((socket) => {
      socket.write(head("202 Accepted", "content-length: 5000"));
      drip("d")(socket);
    });
    const unresolved = openOutgoing(anywhere, { now, resolve: () => new Promise(() => {}) });
    const outcomes = await Promise.all([
      post(hanging.url),
      post(hanging.url.replace("http:", "https:")),
      post(dripping.url),
      post(early.url),
      unresolved.post("https://a.example.com/", message),
      post(body.url),
    ]);
    const late = outcomes.slice(0, -1).map(resultOf);
    expect(late).toEqual(Array(5).fill("timed out"));
    expect(outcomes[5]).toMatchObject({ status: 202, body: expect.stringMatching(/^d{20,60}$/) });
    for (const { durationMs } of outcomes) {
      expect(durationMs).toBeGreaterThan(4_500);
      expect(durationMs).toBeLessThan(9_500);
    }
    await until(() => [hanging, dripping, early, body].every(({ open }) => open.size === 0));
  });

  test("that sends without end is cut off", async () => {
    let sent = 0;
    const chunk = Buffer.alloc(65_536, "a");
    const flood = (start: string) => (socket: Socket) => {
      socket.write(start);
      const more = () => {
        while (!socket.destroyed && sent < 1_000_000_000) {
          sent += chunk.length;
          if (!socket.write(chunk)) break;
        }
      };
      socket.on("drain", more);
      more();
    };
    const body = await receiver(flood(head("200 OK", "content-length: 1000000000")));
    expect(await post(body.url)).toMatchObject({ status: 200, body: "a".repeat(1_024) });
    const header = await receiver(flood("HTTP/1.1 200 OK\r\na: "));
    expect(resultOf(await post(header.url))).toBe("connection lost");
    await until(() => body.open.size + header.open.size === 0);
    expect(sent).toBeLessThan(100_000_000);
  });

  test("that ends the connection, or speaks no HTTP, is reported", async () => {
    const closes = await receiver((socket) => socket.destroy());
    const resets = await receiver((socket) => socket.resetAndDestroy());
    const invalid = await receiver((socket) => socket.end("220 mail.example.com ESMTP\r\n\r\n"));
    for (const { url } of [closes, resets, invalid])
      expect(resultOf(await post(url))).toBe("connection lost");
    expect(resultOf(await post("http://127.0.0.1:2/"))).toBe("cannot connect");
  });

  test("that breaks off in the body has answered with its status", async () => {
    const { url } = await receiver((socket) => {
      socket.write(head("201 Created", "content-length: 100"));
      socket.end("part");
    });
    expect(await post(url)).toMatchObject({ status: 201 });
  });

  test("that redirects is not followed", async () => {
    const inner = await answering("secret");
    const { url } = await receiver((socket) =>
      socket.write(head("301 Moved", `location: ${inner.url}`, "content-length: 0")),
    );
    expect(await post(url)).toMatchObject({ status: 301, body: "" });
    expect(inner.received).toEqual([]);
  });

  test("that sets a cookie does not get it back", async () => {
    const { url, received } = await answering("ok", "set-cookie: id=1; Path=/");
    for (let posts = 0; posts < 2; posts += 1) await post(url);
    expect(received).toHaveLength(2);
    expect(received.join()).not.toMatch(/cookie/i);
  });

  test("that compresses its response is not decompressed", async () => {
    const bomb = Bun.gzipSync(Buffer.alloc(20_000_000, "a"));
    const { url } = await answering(bomb, "content-encoding: gzip");
    const outcome = await post(url);
    expect(outcome).toMatchObject({ status: 200 });
    expect(bodyIn(outcome)).toStartWith("\x1f\ufffd\b");
    expect(bodyIn(outcome)).not.toContain("aaaa");
  });

  test("has the start of its response kept as text that PostgreSQL stores", async () => {
    const texts: [string | Uint8Array<ArrayBuffer>, string][] = [
      ["a\0b", "a\ufffdb"],
      [new Uint8Array([0x61, 0xff, 0xed, 0xa0, 0x80]), "a\ufffd\ufffd\ufffd\ufffd"],
      [`${"a".repeat(1_022)}€`, "a".repeat(1_022)],
      [`${"a".repeat(1_021)}€`, `${"a".repeat(1_021)}€`],
      [new Uint8Array([0x61, 0xe2, 0x82]), "a\ufffd"],
    ];
    for (const [body, kept] of texts) {
      const { url } = await answering(body);
      expect(bodyIn(await post(url))).toBe(kept);
    }
  });

  test("may ask for a later attempt, in seconds or with a date", async () => {
    const cases: [string, number | undefined][] = [
      ["120", 120],
      ["0", 0],
      ["Sat, 28 Nov 2026 12:01:30 GMT", 90],
      ["Sat, 28 Nov 2026 11:00:00 GMT", 0],
      ["-1", undefined],
      ["1.5", undefined],
      ["soon", undefined],
      ["2026-11-28T13:00:00Z", undefined],
    ];
    for (const [value, retryAfterSeconds] of cases) {
      const { url } = await receiver((socket) =>
        socket.end(head("503 Busy", `retry-after: ${value}`, "content-length: 0")),
      );
      expect([value, await post(url)]).toMatchObject([value, { status: 503, retryAfterSeconds }]);
    }
  });

  test("gets 300 requests over a few connections", async () => {
    const { url, open, received } = await answering("ok");
    let left = 300;
    const send = async () => {
      while (left-- > 0) expect(resultOf(await post(url))).toBe(200);
    };
    await Promise.all(Array.from({ length: 10 }, send));
    expect(received).toHaveLength(300);
    expect(open.size).toBeLessThanOrEqual(10);
  });
});

test("a post throws only if the caller cancels it, and then at once", async () => {
  const { url, open } = await receiver(() => {});
  const caller = new AbortController();
  const outcome = outgoing.post(url, { ...message, signal: caller.signal });
  await until(() => open.size === 1);
  caller.abort(new Error("The server stops."));
  await expect(outcome).rejects.toThrow("The server stops.");
  await until(() => open.size === 0);
});
