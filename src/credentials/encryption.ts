import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Encrypts with AES-256-GCM. The result is a nonce of 12 bytes, the ciphertext, and a tag of 16
 * bytes. `name` is authenticated as well, so that the bytes of one row do not decrypt in another
 * row.
 */
export function seal(clear: Uint8Array, { key, name }: { key: Buffer; name: string }): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(name));
  return Buffer.concat([nonce, cipher.update(clear), cipher.final(), cipher.getAuthTag()]);
}

/** Decrypts. Undefined if the key or name is another one, or the bytes were changed. */
export function unseal(
  sealed: Buffer,
  { key, name }: { key: Buffer; name: string },
): Buffer | undefined {
  try {
    const nonce = sealed.subarray(0, NONCE_BYTES);
    const cipher = createDecipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(name));
    cipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    return Buffer.concat([cipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), cipher.final()]);
  } catch {
    return undefined;
  }
}

/** Encrypts what only this installation may read. The first key encrypts, all keys decrypt. */
export interface Envelope {
  seal: (name: string, value: object) => Buffer;
  open: (name: string, sealed: Buffer) => unknown;
  /** A keyed fingerprint of a recipient. */
  fingerprint: (recipient: string) => Buffer;
}

export const envelopes = (keys: readonly [Buffer, ...Buffer[]]): Envelope => ({
  fingerprint: (recipient) =>
    createHmac("sha256", keys[0]).update(`recipient ${recipient}`).digest(),
  seal: (name, value) => seal(Buffer.from(JSON.stringify(value)), { key: keys[0], name }),
  open: (name, sealed) => {
    for (const key of keys) {
      const clear = unseal(sealed, { key, name });
      if (clear) return JSON.parse(clear.toString());
    }
    return undefined;
  },
});
