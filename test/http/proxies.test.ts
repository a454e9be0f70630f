/** The warnings for operators about the proxies in front of Bunker. */
import { expect, test } from "bun:test";
import { deviceTokens } from "../../src/credentials/device-token.ts";
import type { Ctx } from "../../src/ctx.ts";
import { openOrigins } from "../../src/http/origin.ts";
import { world } from "../support/world.ts";

interface Asking {
  peer: string;
  headers: Record<string, string>;
}

/** What is logged after three requests of each client. */
function saidOf(trustedProxies: string[], ...all: Asking[]): string[] {
  const lines: string[] = [];
  const say = (_: object, sentence: string) => lines.push(sentence);
  const log = { debug: say, info: say, warn: say, error: say };
  const config = { trustedProxies, clientAddressHeader: "x-forwarded-for" } as Ctx["config"];
  const devices = deviceTokens([Buffer.alloc(32)]);
  const originOf = openOrigins({ config, devices, log } as unknown as Ctx);
  for (const { peer, headers } of [...all, ...all, ...all]) {
    const server = { requestIP: () => ({ address: peer }) } as unknown as Bun.Server<unknown>;
    const request = new Request("http://localhost/", { method: "POST" });
    originOf({ request, headers, set: { headers: {} }, server }, []);
  }
  return lines;
}

const forwarded = { "x-forwarded-for": "198.51.100.7" };
const unnamed = expect.stringContaining("that is not in TRUSTED_PROXIES");
const silent = expect.stringContaining("without a client IP");

test("a proxy with a private IP that is not trusted causes one warning", () => {
  expect(saidOf([], { peer: "127.0.0.1", headers: forwarded })).toEqual([unnamed]);
  expect(saidOf(["10.9.9.9"], { peer: "172.18.0.1", headers: forwarded })).toEqual([unnamed]);
  expect(saidOf(["172.16.0.0/12"], { peer: "172.18.0.1", headers: forwarded })).toEqual([]);
  // An anonymous client may send any header.
  expect(saidOf([], { peer: "198.51.100.9", headers: forwarded })).toEqual([]);
});

test("so does a trusted proxy that sends no client IP; neither warning hides the other", () => {
  const direct = { peer: "127.0.0.1", headers: {} };
  expect(saidOf(["127.0.0.1"], direct)).toEqual([silent]);
  expect(saidOf([], direct)).toEqual([]);
  const other = { peer: "172.18.0.1", headers: forwarded };
  expect(saidOf(["127.0.0.1"], direct, other)).toEqual([silent, unnamed]);
});

test("a page counts by the client IP also if another app was created first in the process", async () => {
  const open = async ({ send }: Awaited<ReturnType<typeof world>>, from: string) =>
    (await send("GET", "/reset-password?token=x", { headers: { "x-forwarded-for": from } })).headers
      .get("ratelimit")
      ?.split(";")[1];
  await open(await world(), "198.51.100.1");
  const behind = await world({ trustedProxies: ["127.0.0.1"] });
  expect(await open(behind, "198.51.100.1")).toBe("r=1199");
  expect(await open(behind, "198.51.100.2")).toBe("r=1199");
});
