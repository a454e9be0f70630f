/**
 * A readable name of a device from its User-Agent: "Firefox on Linux". Null without a header. The
 * header is text of an attacker's choice, and the name is shown in mails and lists. So an unknown
 * program gets only its first word without dots, which cannot become a link.
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
