import { expect, test } from "bun:test";
import { sql as query } from "drizzle-orm";
import type { Db } from "../../src/db/db.ts";
import { transaction } from "../../src/db/transaction.ts";
import { parseCursor, START } from "../../src/modules/events/cursor.ts";
import { record } from "../../src/modules/events/events.ts";
import { latestCursor, readEvents, readNextEvents } from "../../src/modules/events/feed.ts";
import { world } from "../support/world.ts";

const operator = { kind: "operator" } as const;
interface Envelope {
  id: string;
  type: string;
  subject: string;
  sequence: string;
}
const nextIn = (headers: Headers) => /^<([^>]+)>; rel="next"$/.exec(headers.get("link") ?? "")?.[1];

test("a superuser reads all events, oldest first, each once, by following Link", async () => {
  const { superuser, newUser, send } = await world();
  const root = await superuser();
  await newUser();
  const headers = { authorization: `Bearer ${root.token}` };
  const seen: Envelope[] = [];
  let path: string | undefined = "/api/v1/events?limit=2";
  while (path) {
    const page: Awaited<ReturnType<typeof send>> = await send("GET", path, { headers });
    expect(page.status).toBe(200);
    seen.push(...page.body);
    path = nextIn(page.headers);
  }
  expect(seen.map(({ type }) => type)).toEqual([
    "user.created",
    "session.started",
    "user.updated",
    "user.created",
    "session.started",
  ]);
  const sequences = seen.map(({ sequence }) => sequence);
  expect(sequences).toEqual(sequences.toSorted());
  expect(new Set(seen.map(({ id }) => id)).size).toBe(5);
});

test("a list of events can be limited to types, a subject, a time and what follows a cursor", async () => {
  const { superuser, newUser, pass } = await world();
  const root = await superuser();
  pass(60_000);
  const since = new Date().toISOString();
  const ada = await newUser();
  const read = async (query: string) => (await root.get(`/events?${query}`)).body as Envelope[];
  const all = await read("");
  const started = await read("type=session.started");
  expect(started.map(({ type }) => type)).toEqual(["session.started", "session.started"]);
  expect(await read("type=session.started,user.updated")).toHaveLength(3);
  expect((await read(`subject=${ada.id}`)).map(({ subject }) => subject)).toEqual([ada.id, ada.id]);
  expect((await read(`since=${since}`)).map(({ subject }) => subject)).toEqual([ada.id, ada.id]);
  expect(await read(`after=${all[2]?.sequence}`)).toEqual(all.slice(3));
  expect(await read(`after=${all[4]?.sequence}`)).toEqual([]);
});

test("only superusers read all events", async () => {
  const { newUser, anonymous } = await world();
  const ada = await newUser();
  expect((await ada.get("/events")).body.code).toBe("forbidden");
  expect((await anonymous.get("/events")).status).toBe(401);
});

test("a bad query of a list of events is refused, with each of its problems", async () => {
  const { superuser } = await world();
  const root = await superuser();
  const bad =
    "after=xyz&limit=0&type=user.born&subject=me&since=yesterday&since=2026-01-01T00:00:00Z";
  const { status, body } = await root.get(`/events?${bad}`);
  expect(status).toBe(422);
  const pointers = body.errors.map(({ pointer }: { pointer: string }) => pointer).toSorted();
  expect(pointers).toEqual(
    ["after", "limit", "since", "subject", "type"].map((name) => `/query/${name}`),
  );
  for (const name of ["cursor=abc", "skip=1", "total=true"]) {
    const answer = await root.get(`/users/me/events?after=${"0".repeat(32)}&${name}`);
    expect([name, answer.status]).toEqual([name, 422]);
  }
});

test("a user reads their own events after a cursor, oldest first", async () => {
  const { newUser } = await world();
  const ada = await newUser();
  await newUser("eve@example.com");
  for (const name of ["A", "B", "C"]) await ada.patch("/users/me", { full_name: name });
  const newest = (await ada.get("/users/me/events")).body as Envelope[];
  const oldest = newest.toReversed();
  const { body, headers } = await ada.get(`/users/me/events?after=${oldest[0]?.sequence}&limit=2`);
  expect(body).toEqual(oldest.slice(1, 3));
  const rest = await ada.get(nextIn(headers)?.replace("/api/v1", "") ?? "");
  expect(rest.body).toEqual(oldest.slice(3));
  expect(nextIn(rest.headers)).toBeUndefined();
});

test("readers never skip an event whose transaction commits late", async () => {
  const { ctx } = await world();
  const write = (db: typeof ctx.db, subjectId: string) =>
    record({ ...ctx, db }, operator, { type: "user.deleted", subjectId, data: {} });
  const [early, late] = [crypto.randomUUID(), crypto.randomUUID()];
  const next = () => readNextEvents(ctx, START, 10);
  const page = () => readEvents(ctx, { limit: 10 });
  await ctx.db.transaction(async (tx) => {
    await write(tx, early);
    await write(ctx.db, late);
    for (const read of [next, page]) {
      const { events, end, hasMore } = await read();
      expect({ events, end, hasMore }).toEqual({ events: [], end: START, hasMore: false });
    }
    expect(await latestCursor(ctx)).toEqual(START);
  });
  for (const read of [next, page]) {
    const { events } = await read();
    expect(events.map(({ subjectId }) => subjectId)).toEqual([early, late]);
  }
});

test("readers are woken at a commit, and again until the events can be read", async () => {
  const { ctx } = await world();
  const write = (db: typeof ctx.db) =>
    record({ ...ctx, db }, operator, {
      type: "user.deleted",
      subjectId: crypto.randomUUID(),
      data: {},
    });
  const seen: string[] = [];
  let after = START;
  const read = async () => {
    const page = await readNextEvents(ctx, after, 10);
    if (page.end !== after) seen.push(...page.events.map(({ id }) => id));
    after = page.end;
  };
  ctx.eventSignal.setActive("test", true);
  const unsubscribe = ctx.eventSignal.subscribe(() => void read());
  const arrived = async (count: number) => {
    const giveUpAt = performance.now() + 5_000;
    while (new Set(seen).size < count && performance.now() < giveUpAt) await Bun.sleep(5);
    return new Set(seen).size;
  };
  try {
    await write(ctx.db);
    expect(await arrived(1)).toBe(1);
    await ctx.db.transaction(async (tx) => {
      await write(tx);
      await write(ctx.db);
      await Bun.sleep(300);
      expect(new Set(seen).size).toBe(1);
    });
    expect(await arrived(3)).toBe(3);
  } finally {
    unsubscribe();
    ctx.eventSignal.setActive("test", false);
  }
});

test("a time that PostgreSQL cannot store is refused", async () => {
  const root = await (await world()).superuser();
  const statusOf = async (since: string) =>
    (await root.get(`/events?since=${encodeURIComponent(since)}`)).status;
  for (const since of [
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-01:00",
  ])
    expect([since, await statusOf(since)]).toEqual([since, 422]);
  for (const since of ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
    expect([since, await statusOf(since)]).toEqual([since, 200]);
});

test("a day, an hour or an offset that does not exist is refused", async () => {
  const root = await (await world()).superuser();
  const codesOf = async (since: string) => {
    const { status, body } = await root.get(`/events?since=${encodeURIComponent(since)}`);
    return [since, status, body.code, body.errors?.[0]];
  };
  const problem = expect.objectContaining({ pointer: "/query/since", code: "wrong_format" });
  for (const since of [
    "2026-02-31T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "2100-02-29T12:00:00+01:00",
    "2026-04-31T00:00:00-11:00",
    "2026-01-00T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-01-31T24:00:00Z",
    "2026-01-31T23:60:00Z",
    "2026-01-31T00:00:00+24:00",
    "2026-01-31T00:00:00+01:60",
    "2026-02-31",
  ])
    expect(await codesOf(since)).toEqual([since, 422, "invalid_request", problem]);
  for (const since of ["2024-02-29T23:59:59.999+14:00", "2026-12-31t00:00:00z"])
    expect(await codesOf(since)).toEqual([since, 200, undefined, undefined]);
});

test("an event of a type that a newer version records is listed", async () => {
  const { superuser, sql } = await world();
  const root = await superuser();
  await sql`insert into events (id, type, occurred_at, actor_kind, subject_id, data)
    values (gen_random_uuid(), 'user.born', now(), 'operator', ${root.id}, '{"a": 1}')`;
  for (const path of ["/events", `/users/me/events?after=${"0".repeat(32)}`, "/users/me/events"]) {
    const { status, body } = await root.get(path);
    const types = status === 200 && body.map(({ type }: { type: string }) => type);
    expect([path, types]).toEqual([path, expect.arrayContaining(["user.born"])]);
  }
});

test("a cursor is 32 hexadecimal digits, and nothing else is read as one", () => {
  expect(parseCursor("0".repeat(32))).toEqual(START);
  const others = [
    "",
    "0".repeat(31),
    "0".repeat(33),
    "G".repeat(32),
    `${"f".repeat(32)}`,
    "é".repeat(16),
  ];
  expect(others.filter(parseCursor)).toEqual([]);
});

test("a page of all events reads no more of them than it holds", async () => {
  const { ctx, sql } = await world();
  const event = { type: "key.rotated", subjectId: null, data: { kid: "k" } } as const;
  await transaction(ctx, (tx) => record(tx, { kind: "operator" }, Array(3_000).fill(event)));
  await sql`analyze events`;
  const read = await transaction(ctx, async (tx) => {
    const before = await countRowsRead(tx);
    const page = await readEvents(tx, { after: START, limit: 10 });
    expect([page.events.length, page.hasMore]).toEqual([10, true]);
    return (await countRowsRead(tx)) - before;
  });
  expect(read).toBeGreaterThanOrEqual(10);
  expect(read).toBeLessThan(500);
});

/**
 * Includes reads of earlier transactions that PostgreSQL has not reported yet. The difference of
 * two calls in one transaction is what was read between them.
 */
async function countRowsRead({ db }: { db: Db }): Promise<number> {
  const [row] = await db.execute(query`
    select sum(pg_stat_get_xact_tuples_returned(id) + pg_stat_get_xact_tuples_fetched(id)) as count
      from (select 'events'::regclass::oid as id
        union select indexrelid from pg_index where indrelid = 'events'::regclass) as read`);
  return Number(row?.["count"]);
}
