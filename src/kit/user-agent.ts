/**
 * A readable name of a device: "Firefox on Linux". An attacker chooses the header, and mails show
 * the name: of an unknown program, only the first word without dots, which cannot become a link.
 */
export async function deviceOf(userAgent: string | null): Promise<string | null> {
  if (!userAgent) return null;
  // Loaded at the first use, to keep the start fast.
  const { default: bowser } = await import("bowser");
  const { browser, os, platform } = bowser.parse(userAgent);
  const known: string[] = Object.values(bowser.BROWSER_MAP);
  if (!browser.name || !known.includes(browser.name))
    return /^[A-Za-z][\w-]{0,39}/.exec(userAgent)?.[0] ?? null;
  const place = [os.name, platform.model].find((name) => name);
  return place ? `${browser.name} on ${place}` : browser.name;
}
