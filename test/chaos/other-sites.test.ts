/** Attacks by pages of other sites in a browser that uses Bunker: forms, cookies, DNS rebinding. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { aBrowser, browserPath } from "../support/browser.ts";
import { client, emptyFolder, freePort, serve, usedFolder } from "../support/program.ts";

setDefaultTimeout(120_000);
const PASSWORD = "correct horse battery staple";
const OWNER = "ada@example.com";
const ATTACKER = "mallory@example.com";

/** A certificate that this browser accepts. */
function certificate() {
  const folder = emptyFolder();
  const args = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
  const names = ["-subj", "/CN=accounts.example.test", "-keyout", "key.pem", "-out", "cert.pem"];
  const done = spawnSync("openssl", [...args, ...names], { cwd: folder });
  if (done.status !== 0) throw new Error(String(done.stderr));
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  return { key: read("key.pem"), cert: read("cert.pem") };
}

/** TLS in front of a server, as by a proxy. */
function tlsProxy(port: number, target: string) {
  return Bun.serve({
    hostname: "127.0.0.1",
    port,
    tls: certificate(),
    development: false,
    fetch: (request) => {
      const { pathname, search } = new URL(request.url);
      return fetch(`${target}${pathname}${search}`, {
        method: request.method,
        headers: request.headers,
        body: request.body,
        redirect: "manual",
      });
    },
  });
}

/** Two pages of another site: one sends a form to `action` when it opens, one is empty. */
function otherSite(action: string) {
  const form = `<form method="post" action="${action}"><input name="username" value="${ATTACKER}"><input name="password" value="${PASSWORD}"></form><script>document.forms[0].submit()</script>`;
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    development: false,
    fetch: ({ url }) =>
      new Response(url.endsWith("/form") ? form : "", { headers: { "content-type": "text/html" } }),
  });
}

const fetched = (page: Page, path: string, body?: object) =>
  page.evaluate(
    async ([url, text]) => {
      const init = { method: "POST", headers: { "content-type": "application/json" }, body: text };
      const answer = await fetch(url ?? "", text ? init : {});
      return { status: answer.status, text: await answer.text() };
    },
    [path, body && JSON.stringify(body)] as const,
  );

interface Call {
  method?: string;
  token?: string;
  body?: object;
  headers?: Record<string, string>;
}

/** What a page can read of a response of another origin. Status 0: the browser blocks it. */
const crossOrigin = (page: Page, url: string, { token, body, ...call }: Call = {}) =>
  page.evaluate(
    async ({ url, init }) => {
      try {
        const answer = await fetch(url, { ...init, credentials: "include" });
        const headers = Object.fromEntries(answer.headers);
        return { status: answer.status, text: await answer.text(), headers };
      } catch {
        return { status: 0, text: "", headers: {} as Record<string, string> };
      }
    },
    {
      url,
      init: {
        method: call.method ?? (body ? "POST" : "GET"),
        headers: {
          ...(token ? { authorization: `Bearer ${token}` } : {}),
          ...(body ? { "content-type": "application/json" } : {}),
          ...call.headers,
        },
        ...(body ? { body: JSON.stringify(body) } : {}),
      },
    },
  );

const cookies = async (context: BrowserContext) =>
  (await context.cookies()).filter(({ name }) => name.endsWith("bunker_device"));

/** Two users, and a browser in which the owner has signed in. */
async function home(browser: Browser, isSecure: boolean, env: Record<string, string> = {}) {
  const port = String(await freePort());
  const tlsPort = await freePort();
  const origin = isSecure
    ? `https://accounts.example.test:${tlsPort}`
    : `http://accounts.example.test:${port}`;
  const settings = { BUNKER_ENV: "development", PUBLIC_URL: origin, PORT: port, ...env };
  const { url } = await serve({ env: settings, cwd: await usedFolder() });
  const proxy = isSecure ? tlsProxy(tlsPort, url) : undefined;
  await client(url).register(OWNER, PASSWORD);
  await client(url).register(ATTACKER, PASSWORD);
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.goto(`${origin}/docs`);
  const signIn = () => fetched(page, "/api/v1/auth/login", { username: OWNER, password: PASSWORD });
  expect((await signIn()).status).toBe(200);
  return { url, origin, port, context, page, signIn, close: () => proxy?.stop(true) };
}

describe.if(browserPath !== undefined)("in a browser", () => {
  const browser = aBrowser("--host-resolver-rules=MAP * 127.0.0.1");

  for (const isSecure of [false, true])
    test(`a form of another site signs no user in, our own forms work (${isSecure ? "https" : "http"})`, async () => {
      const { origin, context, page, close } = await home(browser(), isSecure);
      const before = await cookies(context);
      expect(before.map(({ name }) => name)).toEqual([
        isSecure ? "__Host-bunker_device" : "bunker_device",
      ]);
      const site = otherSite(`${origin}/api/v1/auth/login`);
      for (const host of ["evil.example", "sibling.example.test"]) {
        const [answer] = await Promise.all([
          page.waitForResponse(`${origin}/api/v1/auth/login`),
          page.goto(`http://${host}:${site.port}/form`),
        ]);
        expect([host, answer.status()]).toEqual([host, 403]);
        expect(await answer.text()).toContain("cross_site_request");
      }
      expect(await cookies(context)).toEqual(before);
      await page.goto(`${origin}/forgot-password`);
      await page.getByLabel("Your email").fill(OWNER);
      await page.getByRole("button").click();
      await page.getByRole("heading", { name: "Check your inbox" }).waitFor();
      await site.stop(true);
      await close();
    });

  for (const isSecure of [false, true])
    test(`cookies of a sibling host lock no owner out (${isSecure ? "https" : "http"})`, async () => {
      const limits = { LIMITS: "login-account=1/900" };
      const { url, origin, context, page, signIn, close } = await home(browser(), isSecure, limits);
      const [kept] = await cookies(context);
      const site = otherSite("");
      await page.goto(`http://sibling.example.test:${site.port}/`);
      for (const name of ["bunker_device", "__Host-bunker_device"])
        for (const path of ["/", "/api", "/api/v1/auth/login"])
          await page.evaluate(
            `document.cookie = "${name}=dt_stale; domain=example.test; path=${path}"`,
          );
      const guesser = client(url);
      expect(await guesser.logIn(OWNER, "wrong")).toBe("invalid_credentials");
      expect(await guesser.logIn(OWNER, PASSWORD)).toBe("too_many_requests");
      await page.goto(`${origin}/docs`);
      const sent = page.waitForRequest(`${origin}/api/v1/auth/login`);
      expect((await signIn()).status).toBe(200);
      const header = (await (await sent).allHeaders())["cookie"] ?? "";
      expect(header).toContain("bunker_device=dt_stale");
      expect(header).not.toContain("__Host-bunker_device=dt_stale");
      expect((await cookies(context)).map(({ value }) => value)).toContain(kept?.value ?? "");
      await site.stop(true);
      await close();
    });

  test("a page of an origin in CORS_ORIGINS can use the API, one of another origin cannot", async () => {
    const site = otherSite("");
    const product = `http://app.example.test:${site.port}`;
    const { origin, context, page, close } = await home(browser(), false, {
      CORS_ORIGINS: product,
    });
    await context.clearCookies();
    const logIn = { username: OWNER, password: PASSWORD };
    await page.goto(`${product}/`);
    const signedIn = await crossOrigin(page, `${origin}/api/v1/auth/login`, { body: logIn });
    expect(signedIn.status).toBe(200);
    expect(signedIn.headers["device-token"]).toBeString();
    expect(signedIn.headers["ratelimit"]).toBeString();
    // The two origins are one site, so the browser stores the cookie.
    expect(await cookies(context)).toHaveLength(1);
    const { access_token: token } = JSON.parse(signedIn.text);
    const me = `${origin}/api/v1/users/me`;
    const read = await crossOrigin(page, me, { token });
    expect([read.status, read.headers["etag"]]).toEqual([200, expect.any(String)]);
    const changed = await crossOrigin(page, me, {
      method: "PATCH",
      token,
      body: { full_name: "Ada" },
      headers: { "if-match": read.headers["etag"] ?? "", "idempotency-key": "change-1" },
    });
    expect(changed.status).not.toBe(0);
    for (const [status, url] of [
      [401, me],
      [404, `${origin}/api/v1/nothing`],
    ] as const) {
      const refused = await crossOrigin(page, url);
      expect([refused.status, JSON.parse(refused.text).status]).toEqual([status, status]);
      expect(refused.headers["x-request-id"]).toBeString();
    }
    await page.goto(`http://evil.example:${site.port}/`);
    for (const call of [{}, { token }, { body: logIn }])
      expect((await crossOrigin(page, me, call)).status).toBe(0);
    await site.stop(true);
    await close();
  });

  test("another site's name for this machine cannot reset a password (DNS rebinding)", async () => {
    const { port, page } = await home(browser(), false);
    await page.goto(`http://evil.example:${port}/docs`);
    const asked = await fetched(page, "/api/v1/auth/password/forgot", { email: OWNER });
    expect(asked.status).toBe(202);
    // The developer at this machine sees the mail.
    const local = `http://localhost:${port}/dev/mailbox`;
    const list = async () => (await fetch(local)).text();
    while (!(await list()).includes("reset password")) await sleep(100);
    const [, id] = /mailbox\/([\da-f-]+)">reset/.exec(await list()) ?? [];
    for (const path of ["/dev/mailbox", `/dev/mailbox/${id}`, `/dev/mailbox/${id}/source`]) {
      expect((await fetch(`http://localhost:${port}${path}`)).status).toBe(200);
      const read = await fetched(page, path);
      expect([path, read.status]).toEqual([path, 404]);
      expect(read.text).not.toContain("token=ot_");
    }
  });
});
