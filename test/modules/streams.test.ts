/** Streams of events: what is sent, and to whom. */
import { expect, test } from "bun:test";
import { transaction } from "../../src/db/transaction.ts";
import { record } from "../../src/modules/events/events.ts";
import { events } from "../../src/modules/events/tables.ts";
import { streamWorld } from "../support/stream-world.ts";
import type { Socket, Sse } from "../support/streams.ts";
import { until } from "../support/until.ts";

const typesOf = ({ events }: { events: { type: string }[] }) => events.map(({ type }) => type);

test("superusers follow all events by SSE, from the moment they ask", async () => {
  const { superuser, newUser, sse } = await streamWorld();
  const root = await superuser();
  const stream = await sse("/events/stream", root.token);
  expect(stream.status).toBe(200);
  expect(stream.headers.get("content-type")).toBe("text/event-stream");
  expect(stream.headers.get("cache-control")).toBe("no-store");
  expect(stream.headers.get("x-accel-buffering")).toBe("no");
  await until(() => stream.blocks.length > 0);
  expect(stream.blocks[0]).toEqual({ retry: "2000", id: expect.stringMatching(/^[0-9a-f]{32}$/) });
  const ada = await newUser();
  await until(() => stream.events.length === 2);
  expect(typesOf(stream)).toEqual(["user.created", "session.started"]);
  const listed = await root.get(`/events?subject=${ada.id}`);
  expect(stream.events).toEqual(listed.body);
  const [, first] = stream.blocks;
  expect(first?.id).toBe(stream.events[0]?.sequence);
  expect(first?.event).toBe("user.created");
});

test("superusers follow all events by WebSocket, after they subscribed", async () => {
  const { superuser, newUser, socket } = await streamWorld();
  const root = await superuser();
  const one = await socket("/events/ws", root.token);
  await newUser("eve@example.com");
  await Bun.sleep(100);
  expect(one.messages).toEqual([]);
  one.send({ type: "subscribe", events: ["user.created"] });
  await until(() => one.messages.length === 1);
  expect(one.messages[0]).toEqual({
    type: "subscribed",
    after: expect.stringMatching(/^[0-9a-f]{32}$/),
  });
  const ada = await newUser();
  await until(() => one.events.length === 1);
  const listed = await root.get(`/events?subject=${ada.id}&type=user.created`);
  expect(one.events).toEqual(listed.body);
});

test("users follow their own events, which hide superusers, and no events of others", async () => {
  const { superuser, newUser, sse, socket } = await streamWorld();
  const root = await superuser();
  const ada = await newUser();
  const [stream, one] = await Promise.all([
    sse("/users/me/events/stream", ada.token),
    socket("/users/me/events/ws", ada.token),
  ]);
  one.send({ type: "subscribe", events: "*" });
  await until(() => stream.blocks.length > 0 && one.messages.length > 0);
  await newUser("eve@example.com");
  await root.patch(`/users/${ada.id}`, { full_name: "Ada" });
  await ada.patch("/users/me", { full_name: "Ada L." });
  await until(() => stream.events.length >= 2 && one.events.length >= 2);
  await Bun.sleep(100);
  expect(stream.events).toEqual(one.events);
  expect(typesOf(stream)).toEqual(["user.updated", "user.updated"]);
  expect(stream.events.map(({ subject }) => subject)).toEqual([ada.id, ada.id]);
  const [byRoot, byAda] = stream.events.map(({ data }) => data);
  expect(byRoot).toMatchObject({ actor: { kind: "superuser", id: null }, request_id: null });
  expect(byAda).toMatchObject({ actor: { kind: "user", id: ada.id } });
});

test("a stream sends only the types that its client asked for", async () => {
  const { superuser, newUser, sse, socket } = await streamWorld();
  const root = await superuser();
  const stream = await sse("/events/stream?type=session.started,user.updated", root.token);
  const one = await socket("/events/ws", root.token);
  one.send({ type: "subscribe", events: ["session.started", "user.updated"] });
  await until(() => stream.blocks.length > 0 && one.messages.length > 0);
  const ada = await newUser();
  await ada.patch("/users/me", { full_name: "Ada" });
  await until(() => stream.events.length >= 2 && one.events.length >= 2);
  expect(typesOf(stream)).toEqual(["session.started", "user.updated"]);
  expect(typesOf(one)).toEqual(typesOf(stream));
});

test("a stream that resumes while events are recorded misses none and repeats none", async () => {
  const { ctx, superuser, sse, socket } = await streamWorld();
  const root = await superuser();
  const { body } = await root.get("/events?limit=1");
  const after = body[0].sequence;
  let isOver = false;
  const subjectId = root.id;
  const recording = Array.from({ length: 8 }, async () => {
    while (!isOver) {
      const data = { fields: ["full_name"] };
      await transaction(ctx, (tx) =>
        record(tx, { kind: "operator" }, { type: "user.updated", subjectId, data }),
      );
    }
  });
  const streams: (Sse | Socket)[] = [];
  for (let round = 0; round < 5; round += 1) {
    await Bun.sleep(60);
    streams.push(await sse(`/events/stream?after=${after}`, root.token));
    streams.push(
      await sse("/users/me/events/stream", root.token, { "last-event-id": after }),
      await sse("/events/stream?type=user.updated", root.token, { "last-event-id": after }),
    );
    const one = await socket("/events/ws", root.token);
    one.send({ type: "subscribe", events: "*", after });
    streams.push(one);
  }
  await Bun.sleep(100);
  isOver = true;
  await Promise.all(recording);
  const expected = await ctx.db.$count(events);
  const [first, ...others] = streams;
  await until(() => (first?.events.length ?? 0) >= expected - 1);
  await Bun.sleep(200);
  expect(first?.events.length).toBe(expected - 1);
  const sequences = first?.events.map(({ sequence }) => sequence) ?? [];
  expect(sequences).toEqual([...new Set(sequences)].toSorted());
  const updates = first?.events.filter(({ type }) => type === "user.updated") ?? [];
  for (const other of others) {
    const isFull = other.events.length === first?.events.length;
    expect(other.events).toEqual(isFull ? (first?.events ?? []) : updates);
  }
}, 30_000);

test("the header Last-Event-ID replaces the cursor of the URL, which a browser keeps", async () => {
  const { superuser, newUser, sse } = await streamWorld();
  const root = await superuser();
  await newUser();
  const { body } = await root.get("/events");
  const [oldest, , , fourth] = body as { sequence: string }[];
  const stream = await sse(`/events/stream?after=${oldest?.sequence}`, root.token, {
    "last-event-id": fourth?.sequence ?? "",
  });
  await until(() => stream.events.length > 0);
  expect(stream.events).toEqual(body.slice(4));
});

test("a bad cursor or type gets 422, and a cursor beyond retention 410 before the stream begins", async () => {
  const { superuser, sse, sql } = await streamWorld();
  const root = await superuser();
  const refused = async (path: string, id?: string) => {
    const { status, problem } = await sse(path, root.token, id ? { "last-event-id": id } : {});
    const { code, errors = [{}] } = problem;
    return [status, code, errors[0].pointer];
  };
  for (const id of ["1", "x".repeat(32), "0".repeat(33), `${"0".repeat(31)}G`])
    expect(await refused("/events/stream", id)).toEqual([
      422,
      "invalid_request",
      "/header/Last-Event-ID",
    ]);
  expect(await refused("/events/stream?after=7")).toEqual([422, "invalid_request", "/query/after"]);
  expect(await refused("/events/stream?type=a")).toEqual([422, "invalid_request", "/query/type"]);
  const { body } = await root.get("/events");
  await sql`insert into event_cursors (name, transaction_id, position)
    select 'purged', transaction_id, position from events order by transaction_id desc, position desc limit 1`;
  const old = body[0].sequence;
  expect(await refused("/events/stream", old)).toEqual([410, "cursor_expired", undefined]);
  expect(await refused(`/users/me/events/stream?after=${old}`)).toEqual([
    410,
    "cursor_expired",
    undefined,
  ]);
  await sql`delete from event_cursors`;
});

test("streams of all events are for superusers, and no stream is anonymous", async () => {
  const { newUser, sse, socket, url } = await streamWorld();
  const ada = await newUser();
  expect((await sse("/events/stream", ada.token)).problem.code).toBe("forbidden");
  expect((await sse("/events/stream", "x")).problem.code).toBe("invalid_token");
  expect((await fetch(`${url}/users/me/events/stream`)).status).toBe(401);
  // A token in a URL is never read.
  const inUrl = await fetch(`${url}/users/me/events/stream?access_token=${ada.token}`);
  expect(inUrl.status).toBe(401);
  for (const token of [ada.token, "x"])
    expect((await socket("/events/ws", token)).isOpen).toBe(false);
});
