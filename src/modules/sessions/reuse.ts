import { and, eq, getTableColumns, type SQL, sql } from "drizzle-orm";
import type { RefreshToken } from "../../credentials/refresh-token.ts";
import type { Anonymous, Ctx } from "../../ctx.ts";
import { lockUsers } from "../../db/locks.ts";
import { transaction } from "../../db/transaction.ts";
import { sha256 } from "../../kit/digest.ts";
import { networkOf } from "../../kit/network.ts";
import { countSince, record } from "../events/events.ts";
import { forgotPage } from "../links/links.ts";
import { enqueueMail } from "../mail/mail.ts";
import { users } from "../users/tables.ts";
import { boundsOf } from "./sessions.ts";
import { sessions } from "./tables.ts";

/** The client that sends a refresh token, as far as its request identifies it. */
export interface TokenClient {
  /** JSON: device ids by user id. */
  devices: string;
  /** SHA-256 of the client's network and user agent. */
  fingerprint: Buffer;
}

export function tokenClientOf({ devices }: Ctx, { origin }: Anonymous): TokenClient {
  const known = (origin?.deviceTokens ?? []).flatMap((token) => devices.read(token) ?? []);
  // Use the first device token of each user: a client sends its device tokens in the same order
  // each time.
  const byUser = Object.fromEntries(known.reverse().map(({ userId, id }) => [userId, id]));
  const network = origin?.ip ? networkOf(origin.ip) : "";
  return {
    devices: JSON.stringify(byUser),
    fingerprint: sha256(`${network}\n${origin?.userAgent ?? ""}`),
  };
}

export const deviceIn = (devices: unknown): SQL =>
  sql`(${devices}::jsonb ->> ${sessions.userId}::text)::uuid`;

/**
 * Whether this client rotated the session last. If either request has a device token of the user,
 * only the device tokens are compared. Then the client may change its network, and an attacker on
 * the same network is another client. A row that an earlier version of Bunker rotated has no
 * client, and any client matches.
 */
export const isSameClient = (client: Record<keyof TokenClient, unknown> | undefined) =>
  client
    ? sql<boolean>`(${sessions.rotatedBy} is null or (
    ${sessions.rotatedByDevice} is not distinct from ${deviceIn(client.devices)}
    and (${sessions.rotatedByDevice} is not null or ${sessions.rotatedBy} = ${client.fingerprint}::bytea)))`
    : sql<boolean>`true`;

/**
 * A refresh token as one client sends it. `client` is undefined if another party asks about the
 * token.
 */
export interface PresentedToken {
  token: RefreshToken;
  client: TokenClient | undefined;
}

/**
 * Ends the session of a rejected refresh token if a second party uses the spent token: after the
 * grace period, or from another client than the one that rotated it. A late retry of that client
 * within the grace period ends nothing. A token that this server did not issue ends nothing.
 */
export async function endIfReused(
  ctx: Ctx,
  actor: Anonymous,
  presented: PresentedToken,
): Promise<void> {
  await transaction(ctx, (tx) => endReused(tx, actor, presented));
}

async function endReused(
  ctx: Ctx,
  actor: Anonymous,
  { token, client }: PresentedToken,
): Promise<void> {
  const [session] = await ctx.db
    .select({ ...getTableColumns(sessions), isSameClient: isSameClient(client) })
    .from(sessions)
    .where(eq(sessions.id, token.sessionId))
    .for("update");
  if (!session?.seedHash.equals(sha256(token.seed))) return;
  const { id, userId, generation, rotations } = session;
  const age = generation - token.generation;
  if (age < 1) return;
  // Only the latest rotation times are kept. An older token was spent no later than the oldest of
  // them.
  const spentAt = rotations[age - 1] ?? rotations.at(-1);
  const isInGrace = spentAt !== undefined && spentAt > new Date(boundsOf(ctx).graceFrom);
  if (isInGrace && session.isSameClient) return;
  await ctx.db.delete(sessions).where(eq(sessions.id, id));
  await record(ctx, actor, {
    type: "session.reuse_detected",
    subjectId: userId,
    data: { session_id: id },
  });
  const [to] = await ctx.db
    .select({ id: users.id, email: users.email, locale: users.locale })
    .from(users)
    .where(and(eq(users.id, userId), users.emailVerified));
  if (to) await enqueueMail(ctx, { kind: "reuse_detected", to, link: forgotPage(ctx) });
}

const RECORDED_MAX = 20;
const HOUR_MS = 3_600_000;

/**
 * Records that a client got the same successor again. At most 20 an hour for each user, so that
 * retries cannot fill the events table.
 */
export async function recordRetry(
  ctx: Ctx,
  actor: Anonymous,
  { userId, sessionId }: { userId: string; sessionId: string },
): Promise<void> {
  await transaction(ctx, async (tx) => {
    // Serialize parallel retries, so that each counts the others.
    await lockUsers(tx.db, eq(users.id, userId));
    const type = "session.refresh_retried";
    const since = new Date(ctx.now().getTime() - HOUR_MS);
    if ((await countSince(tx, { type, subjectId: userId, since })) >= RECORDED_MAX) return;
    const data = { session_id: sessionId };
    await record(tx, actor, { type, subjectId: userId, data });
  });
}
