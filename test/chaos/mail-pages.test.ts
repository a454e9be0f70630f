/** The pages of mailed links, in a browser without scripts, checked for accessibility. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import axe from "axe-core";
import type { Browser, Page } from "playwright-core";
import { aBrowser, browserPath } from "../support/browser.ts";
import { client, freePort, serve, usedFolder } from "../support/program.ts";

setDefaultTimeout(120_000);
const PASSWORD = "correct horse battery staple";
const NEW = "a stable full of correct horses";

/** A server with a mailbox, and a browser with one language. */
async function openPages(browser: Browser, locale = "en-US") {
  const PORT = String(await freePort());
  const settings = {
    BUNKER_ENV: "development",
    PORT,
    RATE_LIMIT: "off",
    EMAIL_SIGN_IN: "on",
    BRAND_NAME: "Acme & Söhne",
    BRAND_COLOR: "#ffcc00",
  };
  const { url } = await serve({ env: settings, cwd: await usedFolder() });
  const context = await browser.newContext({ locale, viewport: { width: 390, height: 844 } });
  const page = await context.newPage();
  const elsewhere: string[] = [];
  const complaints: string[] = [];
  page.on("request", (request) => {
    if (!request.url().startsWith(PUBLIC(PORT)) && !request.url().startsWith(url))
      elsewhere.push(request.url());
  });
  page.on("console", (message) => {
    if (message.type() === "error" && !/status of 4\d\d/.test(message.text()))
      complaints.push(message.text());
  });
  const post = (path: string, body: object, token = "") =>
    fetch(`${url}/api/v1${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
    });
  /** Opens the latest mail of a kind and follows its link. */
  const follow = async (kind: string) => {
    await page.goto(`${PUBLIC(PORT)}/dev/mailbox`);
    while ((await page.getByRole("link", { name: kind }).count()) === 0) {
      await sleep(200);
      await page.reload();
    }
    await page.getByRole("link", { name: kind }).first().click();
    await page.locator("pre a").first().click();
  };
  return { url, page, post, follow, elsewhere, complaints, people: client(url) };
}
const PUBLIC = (port: string) => `http://localhost:${port}`;

/** Checks all rules of WCAG 2.2 A and AA that axe has, in light and dark mode. */
async function expectAccessible(page: Page, name: string): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    // Our pages allow no scripts. The test injects axe in spite of that.
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate(() =>
      (globalThis as unknown as { axe: typeof axe }).axe.run({
        rules: { "target-size": { enabled: true } },
      }),
    );
    expect([name, colorScheme, violations.map(({ id, nodes }) => [id, nodes[0]?.html])]).toEqual([
      name,
      colorScheme,
      [],
    ]);
    if (process.env["SCREENSHOTS"])
      await page.screenshot({ path: `${process.env["SCREENSHOTS"]}/${name}-${colorScheme}.png` });
  }
}

describe.if(browserPath !== undefined)("pages of mailed links, in a browser", () => {
  const browser = aBrowser();

  test("verify an email, set a password, change the email and undo the change", async () => {
    const { page, post, follow, people, elsewhere, complaints } = await openPages(browser());
    await people.register("ada@example.com", PASSWORD);
    await follow("verify email");
    await expectAccessible(page, "verify");
    await page.getByLabel("password").fill("wrong");
    await page.getByRole("button", { name: "Verify email" }).click();
    expect(await page.getByRole("alert").textContent()).toContain("is incorrect");
    await expectAccessible(page, "verify-refused");
    await page.getByLabel("password").fill(PASSWORD);
    await page.getByRole("button", { name: "Verify email" }).click();
    await page.getByRole("heading", { name: "Your email is verified" }).waitFor();
    await expectAccessible(page, "verify-done");

    await page.goto(`${new URL(page.url()).origin}/.well-known/change-password`);
    await expectAccessible(page, "forgot");
    await page.getByLabel("Your email").fill("ada@example.com");
    await page.getByRole("button").click();
    await expectAccessible(page, "forgot-done");
    await follow("reset password");
    await expectAccessible(page, "reset");
    await page.getByLabel("New password").fill("password");
    await page.getByRole("button").click();
    await page.getByRole("alert").waitFor();
    await page.getByLabel("New password").fill(NEW);
    await page.getByRole("button").click();
    await page.getByRole("heading", { name: "is set" }).waitFor();

    const token = await people.logIn("ada@example.com", NEW);
    const asked = await post("/users/me/email", { email: "ada@example.org" }, token);
    expect(asked.status).toBe(202);
    await follow("change email");
    await expectAccessible(page, "change");
    expect(await page.locator("main").textContent()).toContain("ada@example.org");
    await page.getByLabel("password").fill(NEW);
    await page.getByRole("button", { name: "Change email" }).click();
    await page.getByRole("heading", { name: "was changed" }).waitFor();
    await follow("email changed");
    await expectAccessible(page, "undo");
    await page.getByRole("button", { name: "Undo the change" }).click();
    await page.getByRole("heading", { name: "was restored" }).waitFor();
    await page.goBack();
    await page.reload();
    await page.getByRole("heading", { name: "no longer valid" }).waitFor();
    await expectAccessible(page, "gone");
    expect([elsewhere, complaints]).toEqual([[], []]);
  });

  test("use the language of the browser or the user, and the name of the product", async () => {
    const { url, page, post, follow, people } = await openPages(browser(), "de-AT");
    await people.register("ada@example.com", PASSWORD);
    await page.goto(`${url}/forgot-password`);
    expect(await page.locator("html").getAttribute("lang")).toBe("de");
    expect(await page.title()).toBe("Passwort zurücksetzen · Acme & Söhne");
    await follow("verify email");
    await page.getByRole("button", { name: "Das war ich nicht" }).click();
    await page.getByRole("heading", { name: "Danke für den Hinweis" }).waitFor();
    await post("/auth/register", { email: "bob@example.com", password: PASSWORD, locale: "en" });
    await follow("verify email");
    await page.getByRole("heading", { name: "Verify your email" }).waitFor();
  });

  test("sign in, and show what the page of a product would get", async () => {
    const { page, post, follow, people } = await openPages(browser());
    await people.register("ada@example.com", PASSWORD);
    await post("/auth/email-code", { email: "ada@example.com" });
    await follow("sign in");
    await expectAccessible(page, "sign-in");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "You are signed in" }).waitFor();
    await expectAccessible(page, "signed-in");
    const { access_token } = JSON.parse((await page.locator("pre").textContent()) ?? "");
    expect((await people.get("/users/me", access_token)).status).toBe(200);
  });
});
