/** Picks a driver by the scheme of a URL, so that one setting selects and configures a part. */
export function byScheme<T>(drivers: Record<string, (url: URL) => Promise<T>>) {
  return (text: string): Promise<T> => {
    const url = new URL(text);
    const open = drivers[url.protocol];
    if (!open)
      throw new Error(`no driver for "${url.protocol}"; known: ${Object.keys(drivers).join(" ")}`);
    return open(url);
  };
}
