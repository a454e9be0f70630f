import type { AccessClaims, ClientClaims } from "../../credentials/access-token.ts";
import type { ClientCredentials } from "../../credentials/client-credentials.ts";
import { looksLikeRefreshToken } from "../../credentials/refresh-token.ts";
import type { Anonymous, Ctx } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { fieldProblem, Problem } from "../../kit/problem.ts";
import { usesOf } from "../../limits/policies.ts";
import { logIn } from "../auth/auth.ts";
import { reloadKeys } from "../keys/keys.ts";
import {
  acceptRefreshToken,
  findActor,
  inspectRefreshToken,
  usesOfToken,
} from "../sessions/principal.ts";
import { refresh } from "../sessions/refresh.ts";
import { endSessionsOf, type Token } from "../sessions/sessions.ts";
import { type Client, findAuthenticated, findClient } from "./clients.ts";
import { isRevoked, revokeClientToken } from "./revoked-tokens.ts";

/** RFC 9700, section 2.4, forbids `password`: it requires `OAUTH_PASSWORD_GRANT=on`. */
export const grantTypes = ["refresh_token", "client_credentials", "password"] as const;
export const grantsOn = ({ config }: Ctx): string[] =>
  grantTypes.filter((grant) => grant !== "password" || config.oauthPasswordGrant === "on");

export interface TokenRequest {
  grant_type: string;
  scope?: string | undefined;
  refresh_token?: string | undefined;
  username?: string | undefined;
  password?: string | undefined;
}
export type Grant = Omit<Token, "refresh_token"> & { refresh_token?: string };

/**
 * The token endpoint (RFC 6749, section 3.2). Sessions belong to the public client; a confidential
 * client gets tokens for itself only. Throws `invalid_client`, `unauthorized_client`,
 * `unsupported_grant_type`, `invalid_scope`, `invalid_request`, and what `refresh` and `logIn`
 * throw.
 */
export async function grantToken(
  ctx: Ctx,
  actor: Anonymous,
  { credentials, request }: { credentials: ClientCredentials | undefined; request: TokenRequest },
): Promise<{ grant: Grant; deviceToken?: string }> {
  const client = await authenticateClient(ctx, actor, credentials);
  const {
    grant_type: type,
    scope = "",
    refresh_token: token = "",
    username = "",
    password = "",
  } = request;
  if (!grantsOn(ctx).includes(type)) throw new Problem("unsupported_grant_type");
  if (scope.trim() !== "") throw new Problem("invalid_scope");
  if ((type === "client_credentials") !== (client !== undefined))
    throw new Problem(client ? "unauthorized_client" : "invalid_client");
  if (client) return { grant: await tokenOfClient(ctx, client.id) };
  if (type === "refresh_token") {
    requireParameters({ refresh_token: token });
    return { grant: await refresh(ctx, actor, token) };
  }
  requireParameters({ username, password });
  const { token: grant, deviceToken } = await logIn(ctx, actor, { username, password });
  return { grant, deviceToken };
}

function requireParameters(parameters: Record<string, string>): void {
  const missing = Object.keys(parameters).filter((name) => parameters[name] === "");
  const errors = missing.map((name) => fieldProblem(`/${name}`, "missing"));
  if (errors.length > 0) throw new Problem("invalid_request", { errors });
}

async function tokenOfClient({ tokens, now }: Ctx, clientId: string): Promise<Grant> {
  return {
    access_token: await tokens.signForClient(clientId, now()),
    token_type: "bearer",
    expires_in: tokens.lifetimeSeconds,
  };
}

/** Undefined: the public client. Throws `invalid_client`, `too_many_requests`. */
async function authenticateClient(
  ctx: Ctx,
  actor: Anonymous,
  credentials?: ClientCredentials,
): Promise<Client | undefined> {
  const client = credentials && (await findAuthenticated(ctx, credentials));
  if (client || !credentials) return client;
  await ctx.limits.consume(actor.origin, usesOf("requests-anonymous", actor.origin));
  throw new Problem("invalid_client");
}

/**
 * Ends the session of a token, and with it all of its tokens (RFC 7009). An unknown, expired or
 * revoked token is not an error. A spent refresh token ends its session as reuse. Throws
 * `invalid_client`, `too_many_requests`, and `unauthorized_client` for a token of another client.
 */
export async function revokeToken(
  ctx: Ctx,
  actor: Anonymous,
  { credentials, token }: { credentials: ClientCredentials | undefined; token: string },
): Promise<void> {
  if (!credentials) await ctx.limits.consume(actor.origin, usesOfToken(ctx, actor, token));
  const client = await authenticateClient(ctx, actor, credentials);
  await reloadKeys(ctx, token);
  const own = ctx.tokens.verifyClient(token, ctx.now());
  if (own) return revokeOwnToken(ctx, client, own);
  const session = looksLikeRefreshToken(token)
    ? await (client ? inspectRefreshToken : acceptRefreshToken)(ctx, actor, token)
    : await sessionOf(ctx, token);
  if (!session) return;
  // Sessions belong to the public client. Another client gets an error, because nothing was ended.
  if (client) throw new Problem("unauthorized_client");
  await transaction(ctx, (tx) =>
    endSessionsOf(tx, actor, {
      userId: session.userId,
      which: { only: session.id },
    }),
  );
}

/** RFC 7009, section 2.1: only for the client that the token was issued to. */
function revokeOwnToken(ctx: Ctx, client: Client | undefined, claims: ClientClaims): Promise<void> {
  if (client?.id !== claims.sub) throw new Problem("unauthorized_client");
  return revokeClientToken(ctx, claims);
}

async function sessionOf(
  ctx: Ctx,
  token: string,
): Promise<{ id: string; userId: string } | undefined> {
  const found = await findActor(ctx, token);
  return found && { id: found.session.id, userId: found.user.id };
}

/** The introspection response (RFC 7662, section 2.2). Times are in seconds since 1970. */
export interface Introspection extends Partial<AccessClaims> {
  active: boolean;
  token_type?: "bearer";
  username?: string;
}
const inactive: Introspection = { active: false };

/** For confidential clients (RFC 7662). Throws `invalid_client`, `too_many_requests`. */
export async function introspectToken(
  ctx: Ctx,
  actor: Anonymous,
  { credentials, token }: { credentials: ClientCredentials | undefined; token: string },
): Promise<Introspection> {
  if (!credentials) throw new Problem("invalid_client");
  await authenticateClient(ctx, actor, credentials);
  if (looksLikeRefreshToken(token)) return introspectRefreshToken(ctx, actor, token);
  await reloadKeys(ctx, token);
  const ofClient = ctx.tokens.verifyClient(token, ctx.now());
  if (ofClient) {
    const isActive = (await findClient(ctx, ofClient.sub)) && !(await isRevoked(ctx, ofClient));
    return isActive ? { active: true, token_type: "bearer", ...ofClient } : inactive;
  }
  const claims = ctx.tokens.verify(token, ctx.now());
  const found = claims && (await findActor(ctx, token));
  if (!found) return inactive;
  return { active: true, token_type: "bearer", username: found.user.username, ...claims };
}

const DAY_SECONDS = 86_400;

async function introspectRefreshToken(
  ctx: Ctx,
  actor: Anonymous,
  token: string,
): Promise<Introspection> {
  const found = await inspectRefreshToken(ctx, actor, token);
  if (!found) return inactive;
  const { config, tokens } = ctx;
  const [issuedAt, startedAt] = [found.lastUsedAt, found.createdAt].map((at) =>
    Math.floor(at.getTime() / 1000),
  ) as [number, number];
  return {
    active: true,
    iss: tokens.issuer,
    sub: found.userId,
    sid: found.id,
    client_id: "bunker",
    iat: issuedAt,
    exp: Math.min(
      issuedAt + config.sessionIdleDays * DAY_SECONDS,
      startedAt + config.sessionMaxDays * DAY_SECONDS,
    ),
  };
}
