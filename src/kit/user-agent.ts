/** What a person calls the device, from what its browser calls itself: "Firefox on Linux". Null for silence. */
export async function deviceOf(userAgent: string | null): Promise<string | null> {
  if (!userAgent) return null;
  // Loaded when somebody asks: a start does not need it.
  const { default: bowser } = await import("bowser");
  const { browser, os, platform } = bowser.parse(userAgent);
  const place = [os.name, platform.model].find((name) => name);
  if (browser.name && place) return `${browser.name} on ${place}`;
  // A program, not a browser: `curl/8.5.0`. Only its name is told.
  return browser.name || (/^[\w.-]{1,40}/.exec(userAgent)?.[0] ?? null);
}
