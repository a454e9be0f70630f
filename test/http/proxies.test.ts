/** What is said of the proxies before Bunker, to whoever set them up. */
import { expect, test } from "bun:test";
import type { Ctx } from "../../src/ctx.ts";
import { openOrigins } from "../../src/http/visit.ts";

/** What is logged when somebody asks three times over a connection from `peer`. */
function saidOf(peer: string, trustedProxies: string[], headers: Record<string, string>): string[] {
  const lines: string[] = [];
  const say = (_: object, sentence: string) => lines.push(sentence);
  const log = { debug: say, info: say, warn: say, error: say };
  const config = { trustedProxies, clientAddressHeader: "x-forwarded-for" } as Ctx["config"];
  const originOf = openOrigins({ config, log });
  const server = { requestIP: () => ({ address: peer }) } as unknown as Bun.Server<unknown>;
  for (let at = 0; at < 3; at += 1) {
    const request = new Request("http://localhost/", { method: "POST" });
    originOf({ request, headers, set: { headers: {} }, server }, []);
  }
  return lines;
}

const forwarded = { "x-forwarded-for": "198.51.100.7" };
const unnamed = [expect.stringContaining("that TRUSTED_PROXIES does not name")];
const silent = [expect.stringContaining("does not say who asks")];

test("a proxy on a private address that is not trusted is told of once", () => {
  expect(saidOf("127.0.0.1", [], forwarded)).toEqual(unnamed);
  expect(saidOf("172.18.0.1", ["10.9.9.9"], forwarded)).toEqual(unnamed);
  expect(saidOf("172.18.0.1", ["172.16.0.0/12"], forwarded)).toEqual([]);
  // A stranger may write what they like.
  expect(saidOf("198.51.100.9", [], forwarded)).toEqual([]);
});

test("so is one that is trusted and does not say who asks", () => {
  expect(saidOf("127.0.0.1", ["127.0.0.1"], {})).toEqual(silent);
  expect(saidOf("127.0.0.1", [], {})).toEqual([]);
});
