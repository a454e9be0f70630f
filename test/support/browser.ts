import { afterAll, beforeAll } from "bun:test";
import { type Browser, chromium } from "playwright-core";

/** The path of a browser on this machine, if there is one. */
export const browserPath = ["chromium", "google-chrome", "chromium-browser"]
  .map((name) => Bun.which(name))
  .find((path) => path !== null);

/** A real browser for the tests of one file, with additional arguments. */
export function aBrowser(...args: string[]): () => Browser {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath: browserPath ?? "",
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        ...args,
      ],
    });
  });
  afterAll(() => browser?.close());
  return () => browser;
}
