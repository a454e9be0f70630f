import { describe, expect, test } from "bun:test";
import { withCors } from "../../src/http/cors.ts";
import { PASSWORD, world } from "../support/world.ts";

const PRODUCT = "https://app.example.com";
const OTHERS = [
  "https://app.example.com.evil.example",
  "https://evil.example",
  "http://app.example.com",
  "https://app.example.com:8443",
  "http://localhost:5173",
  "null",
];

async function service(
  environment: "development" | "production" = "production",
  corsOrigins = [PRODUCT],
) {
  const here = await world({ environment, publicUrl: "https://accounts.example.com", corsOrigins });
  const ask = async (method: string, path: string, headers: Record<string, string> = {}) =>
    here.handle(new Request(`http://localhost${path}`, { method, headers }));
  const preflight = (origin: string, path = "/api/v1/users/me") =>
    ask("OPTIONS", path, { origin, "access-control-request-method": "PATCH" });
  return { ...here, ask, preflight };
}
const namesIn = (list: string | null) => (list ?? "").toLowerCase().split(", ");

describe("a browser on an allowed origin", () => {
  test("gets a preflight that names methods and headers, and that it may cache", async () => {
    const { preflight } = await service();
    const { status, headers } = await preflight(PRODUCT);
    expect(status).toBe(204);
    expect(headers.get("access-control-allow-origin")).toBe(PRODUCT);
    expect(namesIn(headers.get("access-control-allow-methods"))).toContain("patch");
    for (const name of ["authorization", "content-type", "if-match", "idempotency-key"])
      expect(namesIn(headers.get("access-control-allow-headers"))).toContain(name);
    expect(Number(headers.get("access-control-max-age"))).toBeGreaterThan(600);
    expect(headers.get("vary")).toContain("Origin");
  });

  test("can read every response: successes, errors, unknown paths, wrong methods and headers", async () => {
    const { ask, newUser } = await service();
    const { token } = await newUser();
    const origin = { origin: PRODUCT };
    const answers: [number, Response][] = [
      [200, await ask("GET", "/api/v1/users/me", { ...origin, authorization: `Bearer ${token}` })],
      [401, await ask("GET", "/api/v1/users/me", origin)],
      [404, await ask("GET", "/api/v1/nothing", origin)],
      [405, await ask("DELETE", "/livez", origin)],
      [422, await ask("POST", "/api/v1/auth/login", origin)],
      [200, await ask("GET", "/.well-known/jwks.json", origin)],
      [200, await ask("GET", "/openapi.json", origin)],
    ];
    for (const [expected, { status, headers }] of answers) {
      expect([status, headers.get("access-control-allow-origin")]).toEqual([expected, PRODUCT]);
      expect(headers.get("vary")).toContain("Origin");
      for (const name of ["etag", "link", "location", "ratelimit", "retry-after", "device-token"])
        expect(namesIn(headers.get("access-control-expose-headers"))).toContain(name);
    }
  });

  test("sends the device cookie to the API only", async () => {
    const { ask } = await service();
    const credentials = async (path: string) =>
      (await ask("GET", path, { origin: PRODUCT })).headers.get("access-control-allow-credentials");
    expect(await credentials("/api/v1/users/me")).toBe("true");
    for (const path of ["/reset-password?token=ot_x", "/livez", "/dev/mailbox", "/openapi.json"])
      expect([path, await credentials(path)]).toEqual([path, null]);
  });

  test("signs in", async () => {
    const { handle, newUser } = await service();
    await newUser();
    const response = await handle(
      new Request("http://localhost/api/v1/auth/login", {
        method: "POST",
        headers: { origin: PRODUCT, "content-type": "application/json" },
        body: JSON.stringify({ username: "ada@example.com", password: PASSWORD }),
      }),
    );
    expect(response.status).toBe(200);
    expect(response.headers.get("access-control-allow-credentials")).toBe("true");
    expect(response.headers.get("device-token")).toBeString();
  });

  test("in development may use any port of this machine", async () => {
    const { preflight } = await service("development", []);
    for (const origin of ["http://localhost:5173", "http://127.0.0.1:8080"])
      expect((await preflight(origin)).headers.get("access-control-allow-origin")).toBe(origin);
    for (const origin of ["https://localhost:5173", "http://localhost.evil.example", "null"])
      expect((await preflight(origin)).headers.get("access-control-allow-origin")).toBeNull();
  });
});

describe("a browser on any other origin", () => {
  test("gets no CORS header, and Vary: Origin", async () => {
    const { ask, preflight } = await service();
    for (const origin of OTHERS)
      for (const { headers } of [await preflight(origin), await ask("GET", "/livez", { origin })]) {
        expect([...headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
        expect(headers.get("vary")).toContain("Origin");
      }
  });

  test("causes one warning that names the setting, for a bounded number of origins", async () => {
    const { ask, preflight, logged } = await service("production", []);
    const warnings = () => logged.filter(({ sentence }) => sentence.includes("CORS_ORIGINS"));
    await ask("GET", "/livez", { origin: "https://accounts.example.com" });
    await ask("GET", "/livez", { origin: PRODUCT, "sec-fetch-mode": "navigate" });
    for (const origin of ["https://a\x9b2J.example", "https://a.example/path", "A".repeat(9_000)])
      await ask("GET", "/livez", { origin });
    expect(warnings()).toHaveLength(0);
    for (let number = 0; number < 3; number += 1) await preflight(PRODUCT);
    expect(warnings()).toHaveLength(1);
    expect(warnings()[0]).toMatchObject({ fields: { origin: PRODUCT } });
    for (let number = 0; number < 100; number += 1)
      await ask("GET", "/livez", { origin: `https://site-${number}.example` });
    expect(warnings()).toHaveLength(20);
  });

  test("is refused if the setting is empty", async () => {
    const { preflight, ask } = await service("production", []);
    expect((await preflight(PRODUCT)).status).toBe(405);
    expect((await ask("GET", "/livez", { origin: PRODUCT })).headers.get("vary")).toBeNull();
  });
});

test("a response from outside the app has the headers as well", async () => {
  const { ctx } = await world({ corsOrigins: [PRODUCT] });
  const late = withCors(ctx, () => new Response(null, { status: 503 }));
  const { headers } = await late(
    new Request("http://localhost/", { headers: { origin: PRODUCT } }),
  );
  expect(headers.get("access-control-allow-origin")).toBe(PRODUCT);
});
