/**
 * What a person calls the device, from what its browser calls itself: "Firefox on Linux". Null for silence. What a program says
 * of itself is anybody's text, and stands in mails and lists: of one that is not known only a name without dots is told, so
 * that it is no link.
 */
export async function deviceOf(userAgent: string | null): Promise<string | null> {
  if (!userAgent) return null;
  // Loaded when somebody asks: a start does not need it.
  const { default: bowser } = await import("bowser");
  const { browser, os, platform } = bowser.parse(userAgent);
  const known: string[] = Object.values(bowser.BROWSER_MAP);
  if (!browser.name || !known.includes(browser.name))
    return /^[A-Za-z][\w-]{0,39}/.exec(userAgent)?.[0] ?? null;
  const place = [os.name, platform.model].find((name) => name);
  return place ? `${browser.name} on ${place}` : browser.name;
}
