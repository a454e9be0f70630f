import { randomBytes } from "node:crypto";
import { credentialsOf } from "../kit/authorization.ts";
import { Problem } from "../kit/problem.ts";

/** How a client says who it is (RFC 6749, section 2.3.1). */
export interface ClientCredentials {
  id: string;
  secret: string;
}

const PREFIX = "cs_";
const SECRET_BYTES = 32;

/** A secret of 256 bits: too many to guess, so a plain hash of it keeps it (unlike a password). */
export const newClientSecret = (): string =>
  PREFIX + randomBytes(SECRET_BYTES).toString("base64url");

export const hashOfSecret = (secret: string): Buffer =>
  Buffer.from(new Bun.CryptoHasher("sha256").update(secret).digest());

/**
 * Reads `client_secret_basic`, or `client_secret_post` where the header is not there. Undefined where there is no secret, or
 * an empty one beside the name of the public client: then it is that. Throws `invalid_client` for a header that cannot be
 * read, a secret without a name, and where a client does both.
 */
export function readClientCredentials(
  authorization: string | undefined,
  {
    client_id: id = "",
    client_secret: secret = "",
  }: { client_id?: string | undefined; client_secret?: string | undefined },
): ClientCredentials | undefined {
  if (authorization === undefined) return secret === "" ? withoutSecret(id) : named({ id, secret });
  const basic = credentialsOf(authorization, "basic") ?? "";
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(basic)) throw new Problem("invalid_client");
  const pair = Buffer.from(basic, "base64").toString();
  const at = pair.indexOf(":");
  if (secret !== "" || at < 1) throw new Problem("invalid_client");
  const found = { id: decoded(pair.slice(0, at)), secret: decoded(pair.slice(at + 1)) };
  if (id !== "" && id !== found.id) throw new Problem("invalid_client");
  return found.secret === "" ? withoutSecret(found.id) : found;
}

const PUBLIC_CLIENT = "bunker";

function named(credentials: ClientCredentials): ClientCredentials {
  if (credentials.id === "") throw new Problem("invalid_client");
  return credentials;
}

function withoutSecret(id: string): undefined {
  if (id !== "" && id !== PUBLIC_CLIENT) throw new Problem("invalid_client");
}

/** Both halves are encoded as in a form before they are joined. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw new Problem("invalid_client");
  }
}
