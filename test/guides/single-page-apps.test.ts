/** The file that the guide for single-page apps gives, in a real browser. */
import { expect, setDefaultTimeout } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { aBrowser, browserPath } from "../support/browser.ts";
import { blocksOf } from "../support/guide.ts";
import { needs } from "../support/needs.ts";
import { client, emptyFolder, serve } from "../support/program.ts";

setDefaultTimeout(60_000);
const PASSWORD = "a long pass phrase";

declare const auth: {
  signIn: (username: string, password: string) => Promise<void>;
  signOut: () => Promise<void>;
  fetchAsUser: (url: string) => Promise<Response>;
  SignedOut: typeof Error;
};

/** Serves a page of another origin that has the guide's file. */
async function openApp(bunker: string) {
  const folder = emptyFolder();
  const file = blocksOf("docs/guides/single-page-apps.md").find(
    (block) => block.file === "auth.ts",
  );
  const text = file?.text.replaceAll("http://localhost:3000", bunker) ?? "";
  writeFileSync(join(folder, "auth.ts"), text);
  const entry = 'import * as auth from "./auth.ts"; Object.assign(globalThis, { auth });';
  writeFileSync(join(folder, "main.ts"), entry);
  const { outputs } = await Bun.build({
    entrypoints: [join(folder, "main.ts")],
    target: "browser",
  });
  const script = await outputs[0]?.text();
  const html = "<!doctype html><script type=module src=/main.js></script>";
  return Bun.serve({
    port: 0,
    fetch: ({ url }) =>
      url.endsWith("/main.js")
        ? new Response(script, { headers: { "content-type": "text/javascript" } })
        : new Response(html, { headers: { "content-type": "text/html" } }),
  });
}

const expire = (page: Page) =>
  page.evaluate(() => {
    const tokens = JSON.parse(localStorage.getItem("tokens") ?? "{}");
    localStorage.setItem("tokens", JSON.stringify({ ...tokens, expires_at: 0 }));
  });

needs("chromium", browserPath !== undefined).describe("the file for single-page apps", () => {
  const browser = aBrowser();
  needs("chromium", browserPath !== undefined).test(
    "keeps a user signed in, also if two tabs refresh at once, until they sign out",
    async () => {
      const { url, end } = await serve({
        cwd: emptyFolder(),
        env: { BUNKER_ENV: "development", HOST: "127.0.0.1" },
      });
      const bunker = url.replace("127.0.0.1", "localhost");
      const app = await openApp(bunker);
      await client(url).register("ada@example.com", PASSWORD);
      const context = await browser().newContext();
      const tabs = [await context.newPage(), await context.newPage()] as const;
      for (const tab of tabs) await tab.goto(`http://localhost:${app.port}/`);
      const refreshes: string[] = [];
      context.on("request", (request) => {
        if (request.method() === "POST" && request.url().endsWith("/refresh"))
          refreshes.push(request.method());
      });

      await tabs[0].evaluate((password) => auth.signIn("ada", password), PASSWORD);
      const cookies = await context.cookies();
      expect(cookies.map(({ name }) => name)).toEqual(["bunker_device"]);
      const me = `${bunker}/api/v1/users/me`;
      const read = (tab: Page) =>
        tab.evaluate(async (at) => (await auth.fetchAsUser(at)).status, me);
      for (let round = 0; round < 5; round += 1) {
        await expire(tabs[0]);
        expect(await Promise.all(tabs.map(read))).toEqual([200, 200]);
      }
      // A tab may read what another one has just replaced. It then gets the same successor.
      expect(refreshes.length).toBeGreaterThanOrEqual(5);
      const events = await tabs[0].evaluate(
        async (at) => (await auth.fetchAsUser(at)).text(),
        `${me}/events`,
      );
      expect(events).toContain("session.started");
      expect(events).not.toContain("session.reuse_detected");

      await tabs[1].reload();
      expect(await read(tabs[1])).toBe(200);
      await tabs[1].evaluate(() => auth.signOut());
      const isSignedOut = (at: string) =>
        auth.fetchAsUser(at).catch((error) => error instanceof auth.SignedOut);
      // A tab sees what another one stored after some milliseconds, and Bunker serves an access
      // token for up to a second after the sign-out.
      const giveUpAt = performance.now() + 5_000;
      let signedOut: unknown;
      while (signedOut !== true && performance.now() < giveUpAt)
        signedOut = await tabs[0].evaluate(isSignedOut, me);
      expect(signedOut).toBe(true);
      await context.close();
      await app.stop(true);
      await end("SIGTERM");
    },
  );
});
