/** Escapes text for an HTML element or a quoted attribute (CWE-79). */
export const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
