/** SHA-256 of a text or of bytes. For secrets that a person chose, use a password hash instead. */
export const sha256 = (data: string | Uint8Array): Buffer =>
  Buffer.from(new Bun.CryptoHasher("sha256").update(data).digest());
