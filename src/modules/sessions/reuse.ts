import { and, eq, getTableColumns } from "drizzle-orm";
import type { RefreshToken } from "../../credentials/refresh-token.ts";
import type { Anonymous, Ctx } from "../../ctx.ts";
import { lockUsers } from "../../db/locks.ts";
import { transaction } from "../../db/transaction.ts";
import { sha256 } from "../../kit/digest.ts";
import { countSince, record } from "../events/events.ts";
import { enqueueMail } from "../mail/mail.ts";
import { forgotPage } from "../one-time/one-time.ts";
import { users } from "../users/tables.ts";
import { boundsOf, isSameClient, type TokenClient } from "./rotation.ts";
import { sessions } from "./tables.ts";

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
