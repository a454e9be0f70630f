import { and, eq, inArray } from "drizzle-orm";
import { requireAdministrator } from "../../access.ts";
import type { Ctx, Principal } from "../../ctx.ts";
import type { EventStream, StreamEnd } from "../../kit/event-streams.ts";
import { STALE_MAX_MS } from "../../kit/principal-cache.ts";
import { Problem } from "../../kit/problem.ts";
import { sessions } from "../sessions/tables.ts";
import { userColumns, users } from "../users/tables.ts";

/** Shorter than the idle timeouts of proxies. */
const HEARTBEAT_EVERY_MS = 15_000;
const CHECK_EVERY_MS = 200;
/** Without change notifications. */
const READ_ALL_EVERY_MS = 500;
const READ_AT_ONCE = 1_000;

export interface Watched {
  streams: () => Iterable<EventStream>;
  hasUser: (userId: string) => boolean;
  end: (stream: EventStream, reason: StreamEnd) => void;
}

export interface AccessWatch {
  /** Reads the user of a new stream again: it may have changed since the request was checked. */
  recheck: (userId: string) => void;
  stop: () => void;
}

/**
 * Ends streams within a second after their session, user or permission ends, and when their token
 * expires. While change notifications arrive, it reads only users who changed. Otherwise it reads
 * all of them at each check.
 */
export function watchAccess(ctx: Ctx, watched: Watched): AccessWatch {
  const changed = new Set<string>();
  let isAnyChanged = false;
  /** When the latest read of all users began. */
  let allReadAt = Number.NEGATIVE_INFINITY;
  let isChecking = false;
  const unsubscribe = ctx.principals.subscribe((userId) => {
    if (userId === undefined) isAnyChanged = true;
    else if (watched.hasUser(userId)) changed.add(userId);
  });

  const areNotified = (now: number) => {
    const { since, upTo } = ctx.principals.received();
    return allReadAt >= since && now - upTo <= STALE_MAX_MS;
  };
  const check = async () => {
    const now = performance.now();
    endExpired(ctx, watched);
    const isUnknown = !areNotified(now) && now - allReadAt >= READ_ALL_EVERY_MS;
    const isAll = isAnyChanged || isUnknown;
    if (!isAll && changed.size === 0) return;
    const suspects = [...watched.streams()].filter(({ userId }) => isAll || changed.has(userId));
    changed.clear();
    isAnyChanged = false;
    try {
      await endForbidden(ctx, suspects, watched.end);
      if (isAll) allReadAt = now;
    } catch {
      // Requests report the outage of the database. Until it is back, no stream gets an event.
      isAnyChanged = true;
    }
  };
  const timer = setInterval(() => {
    if (isChecking) return;
    isChecking = true;
    void check().finally(() => {
      isChecking = false;
    });
  }, CHECK_EVERY_MS);
  const heartbeats = setInterval(() => {
    for (const { transport } of watched.streams()) transport.heartbeat?.();
  }, HEARTBEAT_EVERY_MS);
  return {
    recheck: (userId) => void changed.add(userId),
    stop: () => {
      clearInterval(timer);
      clearInterval(heartbeats);
      unsubscribe();
    },
  };
}

function endExpired({ now }: Ctx, { streams, end }: Watched): void {
  const at = now();
  for (const stream of streams()) if (stream.expiresAt <= at) end(stream, "token_expired");
}

async function endForbidden(ctx: Ctx, streams: EventStream[], end: Watched["end"]): Promise<void> {
  for (let from = 0; from < streams.length; from += READ_AT_ONCE) {
    const some = streams.slice(from, from + READ_AT_ONCE);
    const found = await readPrincipals(ctx, [...new Set(some.map((one) => one.sessionId))]);
    for (const stream of some) {
      const reason = refusalOf(stream, found.get(stream.sessionId));
      if (reason && !stream.isOver) end(stream, reason);
    }
  }
}

async function readPrincipals({ db }: Ctx, sessionIds: string[]): Promise<Map<string, Principal>> {
  const { id, createdAt } = sessions;
  const rows = await db
    .select({ user: userColumns, session: { id, createdAt } })
    .from(sessions)
    .innerJoin(users, and(eq(users.id, sessions.userId), users.isActive))
    .where(inArray(sessions.id, sessionIds));
  return new Map(rows.map((row) => [row.session.id, row]));
}

function refusalOf(
  { view, userId }: EventStream,
  principal: Principal | undefined,
): StreamEnd | undefined {
  if (!principal || principal.user.id !== userId) return "session_ended";
  try {
    if (view === "all") requireAdministrator({ kind: "user", ...principal });
    return undefined;
  } catch (error) {
    if (error instanceof Problem) return "forbidden";
    throw error;
  }
}
