/**
 * Replaces what is between `<!-- name -->` and `<!-- end of name -->` in a page. Throws an Error if
 * the page has no such block.
 */
export function replaceBlock(page: string, name: string, lines: string[]): string {
  const [start, end] = [`<!-- ${name} -->\n`, `\n<!-- end of ${name} -->`];
  const [from, to] = [page.indexOf(start) + start.length, page.indexOf(end)];
  if (from < start.length || to < from) throw new Error(`The page has no block "${name}".`);
  return `${page.slice(0, from)}${lines.join("\n")}${page.slice(to)}`;
}
