import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { aBrowser, browserPath } from "../support/browser.ts";
import { client, serve, usedFolder } from "../support/program.ts";

setDefaultTimeout(60_000);
const PASSWORD = "correct horse battery staple";
describe.if(browserPath !== undefined)("/docs in a browser", () => {
  const browser = aBrowser();

  test("signs in by its Authorize button, calls the API, and loads nothing from other hosts", async () => {
    const server = await serve({ cwd: await usedFolder() });
    await client(server.url).register("ada@example.com", PASSWORD);
    const page = await browser().newPage({ viewport: { width: 1200, height: 1600 } });
    const elsewhere: string[] = [];
    const complaints: string[] = [];
    page.on("request", (request) => {
      if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(server.url))
        elsewhere.push(request.url());
    });
    page.on("console", (message) => {
      if (message.type() === "error") complaints.push(message.text());
    });

    await page.goto(`${server.url}/docs`);
    await page.click(".btn.authorize");
    const form = page.locator(".auth-container", { has: page.locator("#oauth_username") });
    await form.locator("#oauth_username").fill("ada@example.com");
    await form.locator("#oauth_password").fill(PASSWORD);
    await form.locator(".auth-btn-wrapper .authorize").click();
    await page.getByText("Logout").waitFor();
    if (process.env["SCREENSHOTS"])
      await page.screenshot({ path: `${process.env["SCREENSHOTS"]}/authorize.png` });
    await page.click(".btn-done");

    const me = page.locator("#operations-users-getMe");
    await me.locator(".opblock-summary-control").click();
    await me.locator(".try-out__btn").click();
    await me.locator(".execute").click();
    await me.locator(".live-responses-table .response-col_status", { hasText: "200" }).waitFor();
    expect(await me.locator(".live-responses-table").textContent()).toContain("ada@example.com");
    if (process.env["SCREENSHOTS"])
      await page.screenshot({ path: `${process.env["SCREENSHOTS"]}/docs.png` });
    // After a reload, the password and the tokens are gone.
    const kept = await page.evaluate("JSON.stringify({ ...localStorage, ...sessionStorage })");
    expect(kept).toBe("{}");
    expect(elsewhere).toEqual([]);
    expect(complaints).toEqual([]);
  });

  test("follows the dark mode of the system, shows each problem, and says why a sign-in failed", async () => {
    const server = await serve({ cwd: await usedFolder() });
    const page = await browser().newPage({
      viewport: { width: 1280, height: 800 },
      colorScheme: "dark",
    });
    await page.goto(`${server.url}/docs`);
    const first = page.locator(".opblock").first();
    expect(await first.getAttribute("id")).toBe("operations-auth-register");
    const color = "getComputedStyle(document.documentElement).backgroundColor";
    expect(await page.evaluate(color)).toBe("rgb(28, 32, 34)");
    await first.locator(".opblock-summary-control").click();
    for (const status of ["400", "422"]) {
      const example = first.locator(`.response[data-code="${status}"] .example.microlight`);
      expect(await example.textContent()).toContain(`"status": ${status}`);
    }

    await page.click(".btn.authorize");
    await page.locator("#oauth_username:focus").waitFor();
    const content = page.locator(".modal-ux-content");
    expect(await content.evaluate((it) => it.scrollTop)).toBe(0);
    const fields = content.locator("input:visible, select:visible");
    expect(await fields.evaluateAll((all) => all.map(({ id }) => id))).toEqual([
      "oauth_username",
      "oauth_password",
      "auth-bearer-value",
    ]);
    await page.keyboard.type("ada@example.com");
    await page.locator("#oauth_password").fill("not the password");
    await content.locator(".auth-btn-wrapper .authorize").first().click();
    expect(await content.locator(".errors span").textContent()).toBe("Incorrect email or password");
  });

  test("the page of a problem says what to do, without a script", async () => {
    const server = await serve({ cwd: await usedFolder() });
    const page = await browser().newPage({ javaScriptEnabled: false });
    await page.goto(`${server.url}/problems/email_taken`);
    expect(await page.locator("h1").textContent()).toBe("The email is taken");
    if (process.env["SCREENSHOTS"])
      await page.screenshot({ path: `${process.env["SCREENSHOTS"]}/problem.png` });
    await page.click("a");
    expect(page.url()).toBe(`${server.url}/docs`);
  });
});
