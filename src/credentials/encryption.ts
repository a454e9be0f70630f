import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * AES-256-GCM: a nonce, the ciphertext and a tag. `name` is authenticated as well, so that the
 * bytes of one row do not decrypt in another row.
 */
export function encrypt(clear: Uint8Array, { key, name }: { key: Buffer; name: string }): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(name));
  return Buffer.concat([nonce, cipher.update(clear), cipher.final(), cipher.getAuthTag()]);
}

/** Decrypts. Undefined if the key or name is another one, or the bytes were changed. */
export function decrypt(
  encrypted: Buffer,
  { key, name }: { key: Buffer; name: string },
): Buffer | undefined {
  try {
    const nonce = encrypted.subarray(0, NONCE_BYTES);
    const cipher = createDecipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(name));
    cipher.setAuthTag(encrypted.subarray(-TAG_BYTES));
    return Buffer.concat([
      cipher.update(encrypted.subarray(NONCE_BYTES, -TAG_BYTES)),
      cipher.final(),
    ]);
  } catch {
    return undefined;
  }
}

/** Encrypts what only this installation may read. The first key encrypts, all keys decrypt. */
export interface Encryption {
  encrypt: (name: string, value: object) => Buffer;
  /** Undefined if no key fits, or the bytes were changed. */
  decrypt: (name: string, encrypted: Buffer) => unknown;
  /** Whether the first key encrypted it. */
  isCurrent: (name: string, encrypted: Buffer) => boolean;
}

export const openEncryption = (keys: readonly [Buffer, ...Buffer[]]): Encryption => ({
  encrypt: (name, value) => encrypt(Buffer.from(JSON.stringify(value)), { key: keys[0], name }),
  decrypt: (name, encrypted) => {
    for (const key of keys) {
      const clear = decrypt(encrypted, { key, name });
      if (clear) return JSON.parse(clear.toString());
    }
    return undefined;
  },
  isCurrent: (name, encrypted) => decrypt(encrypted, { key: keys[0], name }) !== undefined,
});

/** Encrypts mails, and recognizes their recipients without storing them. */
export interface MailEncryption extends Encryption {
  fingerprint: (recipient: string) => Buffer;
}

export const openMailEncryption = (keys: readonly [Buffer, ...Buffer[]]): MailEncryption => ({
  ...openEncryption(keys),
  fingerprint: (recipient) =>
    createHmac("sha256", keys[0]).update(`recipient ${recipient}`).digest(),
});
