import { and, desc, eq, gt, sql } from "drizzle-orm";
import type { Actor, Anonymous, Ctx, UserActor } from "../../ctx.ts";
import type { Db } from "../../db/db.ts";
import { type PageRange, selectPage } from "../../db/page.ts";
import type { EventData, EventType } from "../../kit/event-types.ts";
import type { EventCursor } from "./cursor.ts";
import { eraseOriginsBatch } from "./erasure.ts";
import { erasures, events } from "./tables.ts";

/** `superuser`: another user, who acted on the subject. */
export const actorKinds = ["anonymous", "user", "superuser", "operator"] as const;

type Row = typeof events.$inferSelect;
export type Event = Omit<Row, "position" | "transactionId" | "type" | "actorKind"> & {
  type: EventType;
  actorKind: (typeof actorKinds)[number];
  cursor: EventCursor;
};

export interface NewEvent<T extends EventType> {
  type: T;
  /** The user or OAuth client that the event is about; null if it is about all of them. */
  subjectId: string | null;
  data: EventData<T>;
}

/**
 * Records events in the caller's transaction. On commit, their subjects leave the principal cache.
 */
export async function record<T extends EventType>(
  ctx: Ctx,
  actor: Actor,
  recorded: NewEvent<T> | NewEvent<T>[],
): Promise<void> {
  const list = [recorded].flat();
  const now = ctx.now();
  const origin = actor.kind === "operator" ? undefined : actor.origin;
  const rows = list.map((one) => ({
    ...one,
    id: Bun.randomUUIDv7("hex", now),
    occurredAt: now,
    actorKind: actor.kind,
    actorId: actor.kind === "user" ? actor.user.id : null,
    ip: origin?.ip ?? null,
    userAgent: origin?.userAgent ?? null,
    requestId: origin?.requestId ?? null,
  }));
  for (let from = 0; from < rows.length; from += WRITTEN_AT_ONCE)
    await ctx.db.insert(events).values(rows.slice(from, from + WRITTEN_AT_ONCE));
  for (const { subjectId } of list) if (subjectId !== null) ctx.principals.forget(subjectId);
}
/** A statement takes 65,535 parameters at most. */
const WRITTEN_AT_ONCE = 1_000;

export const countSince = (
  { db }: { db: Db },
  { type, subjectId, since }: { type: EventType; subjectId: string; since: Date },
): Promise<number> =>
  db.$count(
    events,
    and(eq(events.subjectId, subjectId), eq(events.type, type), gt(events.occurredAt, since)),
  );

/**
 * Erases the IP and user agent of a deleted user, in the deleting transaction: from events by the
 * user, and from anonymous events about the user, such as sign-ins. Some thousands are erased now;
 * a job does the rest. The ids are kept: without the user they are pseudonyms. The origin of a
 * superuser who changed the user is kept too.
 */
export async function eraseOrigins({ db, now }: Ctx, userId: string): Promise<void> {
  await eraseOriginsBatch(db, userId);
  await db.insert(erasures).values({ userId, createdAt: now() }).onConflictDoNothing();
}

const COMPARED_MAX = 200;

/** Compares with the latest 200 events. `isKnownOrigin`: one since `since` has the same origin. */
export async function compareWithEarlier(
  { db }: { db: Db },
  { origin }: Anonymous,
  { type, subjectId, since }: { type: EventType; subjectId: string; since: Date | null },
): Promise<{ isFirst: boolean; isKnownOrigin: boolean }> {
  const earlier = db
    .select({ ip: events.ip, userAgent: events.userAgent, occurredAt: events.occurredAt })
    .from(events)
    .where(and(eq(events.subjectId, subjectId), eq(events.type, type)))
    .orderBy(desc(events.occurredAt), desc(events.id))
    .limit(COMPARED_MAX)
    .as("earlier");
  const isSame = sql`${earlier.ip} is not distinct from ${origin?.ip ?? null}::text
    and ${earlier.userAgent} is not distinct from ${origin?.userAgent ?? null}::text
    and ${earlier.occurredAt} >= coalesce(${since?.toISOString() ?? null}::timestamptz, '-infinity')`;
  const [found] = await db
    .select({
      isFirst: sql<boolean>`count(*) = 0`,
      isKnownOrigin: sql<boolean>`coalesce(bool_or(${isSame}), false)`,
    })
    .from(earlier);
  return found ?? { isFirst: true, isKnownOrigin: false };
}

export async function listOwnEvents(
  ctx: Ctx,
  actor: UserActor,
  range: PageRange,
): Promise<(Event & { createdAt: Date })[]> {
  const page = selectPage({ time: events.occurredAt, id: events.id }, "newest first", range);
  const rows = await ctx.db
    .select()
    .from(events)
    .where(and(eq(events.subjectId, actor.user.id), page.isInPage))
    .orderBy(...page.order)
    .limit(range.limit)
    .offset(page.offset);
  return rows.map((row) => ({ ...asSubjectSees(eventOf(row)), createdAt: row.occurredAt }));
}

export const eventOf = ({ transactionId, position, type, actorKind, ...row }: Row): Event => ({
  ...row,
  type: type as EventType,
  actorKind: actorKindOf(actorKind),
  cursor: { transactionId, position },
});

/** Rows of earlier versions have `stranger` for an anonymous actor. */
const actorKindOf = (stored: string) =>
  (stored === "stranger" ? "anonymous" : stored) as Event["actorKind"];

/** Hides administrators. Anonymous actors keep the origin, which shows the subject an attack. */
export function asSubjectSees(event: Event): Event {
  if (event.actorKind !== "user" || event.actorId === event.subjectId) return event;
  const hidden = { actorId: null, ip: null, userAgent: null, requestId: null };
  return { ...event, ...hidden, actorKind: "superuser" };
}

export const countOwnEvents = (ctx: Ctx, actor: UserActor): Promise<number> =>
  ctx.db.$count(events, eq(events.subjectId, actor.user.id));
