import { and, eq, or, type SQL, sql } from "drizzle-orm";
import type { Anonymous, Ctx } from "../../ctx.ts";
import { prepared } from "../../db/db.ts";
import { sha256 } from "../../kit/digest.ts";
import { networkOf } from "../../kit/network.ts";
import { users } from "../users/tables.ts";
import { sessions } from "./tables.ts";

const SECOND_MS = 1000;
const DAY_MS = 86_400 * SECOND_MS;

/**
 * The time bounds as ISO strings: when a session must have been used and created to be alive, and
 * when a token must have been spent to be in the grace period.
 */
export function boundsOf({ config, now }: Ctx) {
  const time = now().getTime();
  const before = (ms: number) => new Date(time - ms).toISOString();
  return {
    now: before(0),
    graceFrom: before(config.refreshGraceSeconds * SECOND_MS),
    usedFrom: before(config.sessionIdleDays * DAY_MS),
    bornFrom: before(config.sessionMaxDays * DAY_MS),
  };
}

/**
 * The session is neither idle for too long nor too old. The bounds are times, or placeholders of a
 * prepared statement.
 */
export const isAlive = ({ usedFrom, bornFrom }: Record<"usedFrom" | "bornFrom", unknown>): SQL =>
  sql`(${sessions.lastUsedAt} > ${usedFrom}::timestamptz and ${sessions.createdAt} > ${bornFrom}::timestamptz)`;

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

const deviceIn = (devices: unknown): SQL =>
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

const slot = (name: string) => sql.placeholder(name);
/** Matches the current token by its hash. */
export const isCurrentToken = (hash: unknown): SQL => sql`${sessions.currentHash} = ${hash}::bytea`;
/**
 * Matches the token that was spent last, if it was spent within the grace period and the same
 * client sends it again.
 */
export const isRetriedToken = (
  hash: unknown,
  { graceFrom, client }: { graceFrom: unknown; client: Parameters<typeof isSameClient>[0] },
): SQL =>
  sql`(${sessions.previousHash} = ${hash}::bytea and ${sessions.rotations}[1] > ${graceFrom}::timestamptz
    and ${isSameClient(client)})`;

const isCurrent = isCurrentToken(slot("hash"));
const isRetry = isRetriedToken(slot("hash"), {
  graceFrom: slot("graceFrom"),
  client: { devices: slot("devices"), fingerprint: slot("fingerprint") },
});
const ROTATIONS_KEPT = sql.raw("8");
const ifCurrent = (value: SQL, kept: SQL) =>
  sql`case when ${isCurrent} then ${value} else ${kept} end`;

/**
 * One statement decides. It spends the current token and stores its successor. The token that was
 * just spent gets the same successor again if the client that rotated it sends it. Of two
 * concurrent requests, the second sees what the first has written.
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
      rotatedByDevice: ifCurrent(deviceIn(slot("devices")), sql`${sessions.rotatedByDevice}`),
      rotatedBy: ifCurrent(sql`${slot("fingerprint")}::bytea`, sql`${sessions.rotatedBy}`),
      retries: ifCurrent(sql`${sessions.retries}`, sql`${sessions.retries} + 1`),
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
