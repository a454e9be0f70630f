/** Case and compatibility forms folded in our code, so that the answer does not depend on a database's locale. */
export const fold = (text: string): string =>
  text.normalize("NFKC").toLowerCase().normalize("NFKC").replaceAll("ς", "σ");
