import { describe, expect, test } from "bun:test";
import { readConfig } from "../../src/config/config.ts";
import { LINK_PATHS } from "../../src/pages/links.ts";
import { PASSWORD, world } from "../support/world.ts";

const FORM = "application/x-www-form-urlencoded";
const OWN = "https://accounts.example.com";
const PRODUCT = "https://app.example.com";
const FORM_PATHS = [
  "/api/v1/auth/login",
  "/oauth/token",
  "/oauth/revoke",
  "/oauth/introspect",
  "/verify-email",
  "/undo-email",
  "/reset-password",
  "/sign-in",
  "/forgot-password",
];

async function product(environment: "development" | "production" = "production") {
  const here = await world({
    environment,
    publicUrl: OWN,
    corsOrigins: [PRODUCT],
    emailSignIn: "on",
  });
  await here.newUser();
  const post = (path: string, headers: Record<string, string>, fields: Record<string, string>) =>
    here.send("POST", path, {
      headers: { "content-type": FORM, host: "accounts.example.com", ...headers },
      body: new URLSearchParams(fields).toString(),
    });
  const signIn = (headers: Record<string, string>) =>
    post("/api/v1/auth/login", headers, { username: "ada@example.com", password: PASSWORD });
  return { ...here, post, signIn };
}

const fromElsewhere: Record<string, string>[] = [
  { "sec-fetch-site": "cross-site" },
  { "sec-fetch-site": "same-site" },
  { "sec-fetch-site": "cross-site", origin: "null" },
  { "sec-fetch-site": "cross-site", origin: "https://evil.example" },
  { "sec-fetch-site": "same-site", origin: "https://evil.example.com" },
  { "sec-fetch-site": "unheard-of", origin: "https://evil.example" },
  // The host name does not help: another origin of the same site sent the form.
  { "sec-fetch-site": "same-site", origin: "https://accounts.example.com:8443" },
  // Browsers without Sec-Fetch-Site, and every browser over plain http.
  { origin: "null" },
  { origin: "https://evil.example" },
  { origin: "http://accounts.example.com" },
  { origin: "https://accounts.example.com.evil.example" },
  { origin: "https://app.example.com.evil.example" },
  { origin: "http://localhost:8080" },
];
const fromHere: Record<string, string>[] = [
  {},
  { "sec-fetch-site": "same-origin", origin: OWN },
  // Earlier versions of our own pages sent no origin.
  { "sec-fetch-site": "same-origin", origin: "null" },
  { "sec-fetch-site": "none" },
  { "sec-fetch-site": "same-site", origin: PRODUCT },
  { "sec-fetch-site": "cross-site", origin: OWN },
  { origin: OWN },
  { origin: PRODUCT },
  { origin: "https://other-name.example", host: "other-name.example" },
];

function refusalAt(path: string): string {
  if (LINK_PATHS.includes(path.replace(/\/$/, ""))) return "a page";
  return path.startsWith("/oauth") ? "invalid_request" : "cross_site_request";
}

describe("a form", () => {
  test("from another site is refused on every path that takes one, and sets no cookie", async () => {
    const { post, signIn } = await product();
    for (const headers of fromElsewhere) {
      const answer = await signIn(headers);
      expect([headers, answer.status, answer.body.code]).toEqual([
        headers,
        403,
        "cross_site_request",
      ]);
      expect(answer.headers.get("set-cookie")).toBeNull();
    }
    for (const type of [`${FORM};charset=utf-8`, FORM.toUpperCase()])
      expect((await signIn({ "content-type": type, origin: "null" })).status).toBe(403);
    for (const path of [...FORM_PATHS, ...FORM_PATHS.map((one) => `${one}/`)]) {
      const answer = await post(path, { "sec-fetch-site": "cross-site" }, { token: "ot_x" });
      const isPage = answer.headers.get("content-type")?.startsWith("text/html");
      const said = isPage ? "a page" : (answer.body.error ?? answer.body.code);
      expect([path, answer.status, said]).toEqual([path, 403, refusalAt(path)]);
    }
  });

  test("from our own pages, an allowed origin or no browser is accepted", async () => {
    const { signIn } = await product();
    for (const headers of fromHere)
      expect([headers, (await signIn(headers)).status]).toEqual([headers, 200]);
  });

  test("in development is accepted from every port of this machine as well", async () => {
    const { signIn } = await product("development");
    for (const origin of ["http://localhost:8080", "http://127.0.0.1:5173", "http://localhost"])
      expect((await signIn({ origin, "sec-fetch-site": "cross-site" })).status).toBe(200);
    for (const origin of ["http://localhost.evil.example", "http://evil.example:8080", "null"])
      expect((await signIn({ origin, "sec-fetch-site": "cross-site" })).status).toBe(403);
  });

  test("of another site consumes neither a link nor a limit", async () => {
    const { ctx, post, sql } = await product();
    await post("/forgot-password", { origin: "null" }, { email: "ada@example.com" });
    for (let at = 0; at < 12; at += 1)
      await post(
        "/api/v1/auth/login",
        { origin: "https://evil.example" },
        { username: "ada@example.com", password: "wrong" },
      );
    expect(await sql`select 1 from mail_requests`).toHaveLength(0);
    expect(ctx.limits.refused()).toEqual({});
  });
});

test("no other content type that a browser sends without a preflight signs in", async () => {
  const { send, ctx } = await product();
  const fields = { username: "ada@example.com", password: PASSWORD, token: "ot_x" };
  const multipart = new FormData();
  for (const [name, value] of Object.entries(fields)) multipart.set(name, value);
  const headers = { "sec-fetch-site": "cross-site", origin: "https://evil.example" };
  const json = JSON.stringify(fields);
  const bodies: [string, RequestInit][] = [
    ["text/plain", { body: json, headers: { ...headers, "content-type": "text/plain" } }],
    [
      "a JSON parameter",
      { body: json, headers: { ...headers, "content-type": "text/plain; application/json" } },
    ],
    ["multipart", { body: multipart, headers }],
    ["no type", { body: new TextEncoder().encode(json), headers }],
    [
      "a list of types",
      { body: json, headers: { ...headers, "content-type": `${FORM}, application/json` } },
    ],
    ["no body", { headers }],
  ];
  const paths = ["/api/v1/auth/email-code/verify", "/api/v1/auth/refresh", ...FORM_PATHS];
  for (const path of paths)
    for (const [kind, init] of bodies) {
      const { status, headers: responseHeaders } = await send("POST", path, init);
      const answer = { path, kind, isRefused: status >= 400 && status < 500 };
      expect({ ...answer, cookie: responseHeaders.get("set-cookie") }).toEqual({
        path,
        kind,
        isRefused: true,
        cookie: null,
      });
    }
  expect(ctx.limits.refused()).toEqual({});
});

test("CORS_ORIGINS accepts exact origins only", () => {
  const read = (CORS_ORIGINS: string) => readConfig({ CORS_ORIGINS }).config.corsOrigins;
  expect(read("https://app.example.com, http://localhost:5173\nhttps://b.example:8443")).toEqual([
    "https://app.example.com",
    "http://localhost:5173",
    "https://b.example:8443",
  ]);
  expect(readConfig({}).config.corsOrigins).toEqual([]);
  for (const wrong of [
    "*",
    "null",
    "app.example.com",
    "https://app.example.com/",
    "https://app.example.com/x",
    "https://*.example.com",
    "https://APP.example.com",
    "https://app.example.com:443",
    "ftp://app.example.com",
    "https://user@app.example.com",
    "https://ok.example,*",
  ])
    expect(() => read(wrong)).toThrow("CORS_ORIGINS must be origins");
});
