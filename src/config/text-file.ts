import { readFileSync } from "node:fs";

/** Throws an Error for UTF-16, for example, which PowerShell on Windows writes. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("is not UTF-8 text");
  }
}

/** Throws an Error whose message continues the name of the file: "cannot be read (ENOENT)". */
export function readText(path: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new Error(`cannot be read (${whyUnreadable(path, error)})`);
  }
  return decodeText(bytes);
}

/** The code of an error. Adds the reason if only a shell would expand the path. */
export function whyUnreadable(path: string, error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  return isUnexpanded(path) ? `${code}; ~, $ and % are not expanded here` : `${code}`;
}

export const isUnexpanded = (path: string): boolean => /^[~%]|\$/.test(path);

/** Blanks at the ends are refused: a person who types the password elsewhere cannot see them. */
export function withoutBlanks(secret: string): string {
  if (secret !== secret.trim())
    throw new Error("begins or ends with a space or a line break; remove it");
  return secret;
}

/** The password in a text that has nothing else. Removes one line break at the end. */
export const passwordOf = (text: string): string => withoutBlanks(text.replace(/\r?\n$/, ""));
