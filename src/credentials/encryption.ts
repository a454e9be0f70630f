import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** AES-256-GCM: 12 bytes of nonce, the ciphertext, 16 bytes of tag. The name is bound in: no row takes another row's bytes. */
export function seal(clear: Uint8Array, { key, name }: { key: Buffer; name: string }): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(name));
  return Buffer.concat([nonce, cipher.update(clear), cipher.final(), cipher.getAuthTag()]);
}

/** Undefined where the key is another one, or the bytes were tampered with. */
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

/** What only this installation reads: the first key seals, all of them open. */
export interface Envelope {
  seal: (name: string, value: object) => Buffer;
  open: (name: string, sealed: Buffer) => unknown;
  /** A keyed fingerprint of a recipient. */
  fingerprint: (recipient: string) => Buffer;
  /** Where it was posted: the `traceparent` of what was going on then, for whoever delivers it later. */
  postmark: () => string | null;
}

export const envelopes = (
  keys: readonly [Buffer, ...Buffer[]],
  postmark: Envelope["postmark"] = () => null,
): Envelope => ({
  postmark,
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
