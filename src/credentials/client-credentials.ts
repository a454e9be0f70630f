import { randomBytes } from "node:crypto";
import { credentialsOf } from "../kit/authorization.ts";
import { Problem } from "../kit/problem.ts";

/** How an OAuth client authenticates (RFC 6749, section 2.3.1). */
export interface ClientCredentials {
  id: string;
  secret: string;
}

const PREFIX = "cs_";
const SECRET_BYTES = 32;

/** A secret of 256 bits. It cannot be guessed, so a plain hash is enough to store it. */
export const newClientSecret = (): string =>
  PREFIX + randomBytes(SECRET_BYTES).toString("base64url");

/**
 * Reads `client_secret_basic`, or `client_secret_post` if there is no header. Undefined for the
 * public client, which sends no secret. Throws `invalid_client` for anything else.
 */
export function readClientCredentials(
  authorization: string | undefined,
  {
    client_id: id = "",
    client_secret: secret = "",
  }: { client_id?: string | undefined; client_secret?: string | undefined },
): ClientCredentials | undefined {
  if (authorization === undefined) {
    if (secret === "") return withoutSecret(id);
    if (id === "") throw new Problem("invalid_client");
    return { id, secret };
  }
  const basic = credentialsOf(authorization, "basic") ?? "";
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(basic)) throw new Problem("invalid_client");
  const pair = Buffer.from(basic, "base64").toString();
  const colon = pair.indexOf(":");
  if (secret !== "" || colon < 1) throw new Problem("invalid_client");
  const found = { id: decoded(pair.slice(0, colon)), secret: decoded(pair.slice(colon + 1)) };
  if (id !== "" && id !== found.id) throw new Problem("invalid_client");
  return found.secret === "" ? withoutSecret(found.id) : found;
}

const PUBLIC_CLIENT = "bunker";

function withoutSecret(id: string): undefined {
  if (id !== "" && id !== PUBLIC_CLIENT) throw new Problem("invalid_client");
}

/** Clients form-encode both halves before they join them (RFC 6749, section 2.3.1). */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw new Problem("invalid_client");
  }
}
