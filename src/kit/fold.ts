/** In our code, so that the result does not depend on the locale of the database. */
export const fold = (text: string): string =>
  text.normalize("NFKC").toLowerCase().normalize("NFKC").replaceAll("ς", "σ");
