import { and, eq, or, type SQL, sql } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { prepared } from "../../db/db.ts";
import { sessions, users } from "../../db/schema.ts";

const SECOND_MS = 1000;
const DAY_MS = 86_400 * SECOND_MS;

/** Times that decide, as text: since when a session must have been used and born, and since when a retry is one. */
export function boundsOf({ config, now }: Pick<Ctx, "config" | "now">) {
  const time = now().getTime();
  const before = (ms: number) => new Date(time - ms).toISOString();
  return {
    now: before(0),
    graceFrom: before(config.refreshGraceSeconds * SECOND_MS),
    usedFrom: before(config.sessionIdleDays * DAY_MS),
    bornFrom: before(config.sessionMaxDays * DAY_MS),
  };
}

/** Neither silent for too long nor too old; the bounds are times, or stand for them in a prepared statement. */
export const isAlive = ({ usedFrom, bornFrom }: Record<"usedFrom" | "bornFrom", unknown>): SQL =>
  sql`(${sessions.lastUsedAt} > ${usedFrom}::timestamptz and ${sessions.createdAt} > ${bornFrom}::timestamptz)`;

const slot = (name: string) => sql.placeholder(name);
const isCurrent = sql`${sessions.currentHash} = ${slot("hash")}::bytea`;
const isRetry = sql`(${sessions.previousHash} = ${slot("hash")}::bytea and ${sessions.rotations}[1] > ${slot("graceFrom")}::timestamptz)`;
const ROTATIONS_KEPT = sql.raw("8");
const ifCurrent = (value: SQL, kept: SQL) =>
  sql`case when ${isCurrent} then ${value} else ${kept} end`;

/**
 * One statement decides: a token that is good now is spent, and its successor takes its place; the token just spent gets
 * that same successor once more. Of two that come together the second sees what the first has written.
 */
export const rotation = prepared((db) =>
  db
    .update(sessions)
    .set({
      previousHash: ifCurrent(sql`${slot("hash")}::bytea`, sql`${sessions.previousHash}`),
      nonce: ifCurrent(sql`${slot("nonce")}::bytea`, sql`${sessions.nonce}`),
      generation: ifCurrent(sql`${sessions.generation} + 1`, sql`${sessions.generation}`),
      rotations: ifCurrent(
        sql`(array_prepend(${slot("now")}::timestamptz, ${sessions.rotations}))[1:${ROTATIONS_KEPT}]`,
        sql`${sessions.rotations}`,
      ),
      lastUsedAt: sql`${slot("now")}::timestamptz`,
      currentHash: ifCurrent(sql`${slot("successorHash")}::bytea`, sql`${sessions.currentHash}`),
    })
    .from(users)
    .where(
      and(
        eq(sessions.id, slot("id")),
        eq(sessions.userId, users.id),
        users.isActive,
        isAlive({ usedFrom: slot("usedFrom"), bornFrom: slot("bornFrom") }),
        or(isCurrent, isRetry),
      ),
    )
    .returning({
      userId: sessions.userId,
      createdAt: sessions.createdAt,
      generation: sessions.generation,
      nonce: sessions.nonce,
    })
    .prepare("rotate_session"),
);
