/** What ends streams of events, and what refuses them. */
import { expect, setSystemTime, test } from "bun:test";
import { createConnection } from "node:net";
import { streamWorld } from "../support/stream-world.ts";
import { until } from "../support/until.ts";

const endings: Record<string, (world: Ending) => Promise<unknown>> = {
  "its session ends": ({ ada }) => ada.post("/auth/logout"),
  "its user is deactivated": ({ root, ada }) =>
    root.patch(`/users/${ada.id}`, { is_active: false }),
  "its user is deleted": ({ root, ada }) => root.delete(`/users/${ada.id}`),
  "its access token expires": async ({ pass }) => pass(3_600_000),
  "its user is no longer a superuser": ({ root, ada }) =>
    root.patch(`/users/${ada.id}`, { is_superuser: false }),
};
type Person = Awaited<ReturnType<Awaited<ReturnType<typeof streamWorld>>["superuser"]>>;
interface Ending {
  root: Person;
  ada: Person;
  pass: (ms: number) => void;
}

for (const [cause, happen] of Object.entries(endings))
  test(`a stream ends within a second after ${cause}`, async () => {
    const { superuser, sse, socket, pass, ctx } = await streamWorld();
    const root = await superuser();
    const ada = await superuser("ada@example.com");
    const isExpiry = cause.includes("expires");
    const others = isExpiry ? [] : [await sse("/users/me/events/stream", root.token)];
    const [stream, one, silent] = await Promise.all([
      sse("/events/stream", ada.token),
      socket("/events/ws", ada.token),
      socket("/events/ws", ada.token),
    ]);
    one.send({ type: "subscribe", events: "*" });
    await until(() => stream.blocks.length > 0 && one.messages.length > 0);
    // By then, change notifications are known to arrive.
    await Bun.sleep(1_500);
    const at = performance.now();
    await happen({ root, ada, pass });
    await until(() => stream.isOver && one.closed !== undefined && silent.closed !== undefined);
    expect(performance.now() - at).toBeLessThan(1_000);
    const code = cause.includes("superuser") ? 4403 : 4401;
    expect([one.closed?.code, silent.closed?.code]).toEqual([code, code]);
    if (!isExpiry) expect(one.closed?.reason).toMatch(/resume after [0-9a-f]{32}$/);
    for (const other of others) expect(other.isOver).toBe(false);
    expect(ctx.streams.counts().open).toEqual({ sse: others.length, websocket: 0 });
    setSystemTime();
  }, 15_000);

test("a user may have 20 streams, of both kinds", async () => {
  const { newUser, sse, socket, ctx, url } = await streamWorld();
  const ada = await newUser();
  const own = [];
  for (let at = 0; at < 10; at += 1) {
    own.push(await sse("/users/me/events/stream", ada.token));
    await socket("/users/me/events/ws", ada.token);
  }
  const refused = await sse("/users/me/events/stream", ada.token);
  expect([refused.status, refused.problem.code]).toEqual([429, "too_many_streams"]);
  expect((await socket("/users/me/events/ws", ada.token)).isOpen).toBe(false);
  const headers = { authorization: `Bearer ${ada.token}`, upgrade: "websocket" };
  for (const kind of ["stream", "ws"]) {
    const response = await fetch(`${url}/users/me/events/${kind}`, { headers });
    expect([kind, response.status, response.headers.get("retry-after")]).toEqual([kind, 429, "2"]);
  }
  const late = await socket("/users/me/events/ws", undefined);
  late.send({ type: "authenticate", token: ada.token });
  await until(() => late.closed !== undefined);
  expect(late.closed?.code).toBe(4429);
  own[0]?.close();
  await until(() => ctx.streams.counts().open.sse === 9);
  expect((await sse("/users/me/events/stream", ada.token)).status).toBe(200);
});

test("streams end when the server stops, and no new ones are opened", async () => {
  const { newUser, sse, socket, ctx } = await streamWorld();
  const ada = await newUser();
  const stream = await sse("/users/me/events/stream", ada.token);
  const one = await socket("/users/me/events/ws", ada.token);
  one.send({ type: "subscribe", events: "*" });
  await until(() => stream.blocks.length > 0 && one.messages.length > 0);
  ctx.streams.close();
  await until(() => stream.isOver && one.closed !== undefined);
  expect(one.closed?.code).toBe(1012);
  expect(one.closed?.reason).toEndWith(`resume after ${one.messages[0].after}`);
  const refused = await sse("/users/me/events/stream", ada.token);
  expect([refused.status, refused.problem.code]).toEqual([503, "streams_unavailable"]);
});

test("a stream that its client left, or that nobody reads, is forgotten", async () => {
  const { newUser, sse, socket, ctx, url } = await streamWorld();
  const ada = await newUser();
  const stream = await sse("/users/me/events/stream", ada.token);
  const one = await socket("/users/me/events/ws", ada.token);
  expect(ctx.streams.counts().open).toEqual({ sse: 1, websocket: 1 });
  stream.close();
  one.close();
  const headers = { authorization: `Bearer ${ada.token}` };
  const head = await fetch(`${url}/users/me/events/stream`, { method: "HEAD", headers });
  expect([head.status, head.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
  await until(() => {
    const { open } = ctx.streams.counts();
    return open.sse === 0 && open.websocket === 0;
  });
});

test("while no notifications arrive, events are sent and streams end within a second", async () => {
  const { newUser, sse, socket, sql } = await streamWorld();
  const [ada, eve] = [await newUser(), await newUser("eve@example.com")];
  const endListeners = () => sql`select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'bunker listener' and datname = current_database()`;
  let isOver = false;
  const ending = (async () => {
    while (!isOver) {
      await endListeners();
      await Bun.sleep(20);
    }
  })();
  const [stream, kept] = [
    await sse("/users/me/events/stream", ada.token),
    await sse("/users/me/events/stream", eve.token),
  ];
  const one = await socket("/users/me/events/ws", ada.token);
  one.send({ type: "subscribe", events: "*" });
  await until(() => stream.blocks.length > 0 && one.messages.length > 0);
  await Bun.sleep(1_000);
  const from = performance.now();
  await ada.patch("/users/me", { full_name: "Ada" });
  await until(() => stream.events.length === 1 && one.events.length === 1);
  expect(performance.now() - from).toBeLessThan(1_000);
  // The user has been read since that change.
  await Bun.sleep(500);
  // By hand and without its notification: this process does not hear of the change.
  const endedAt = performance.now();
  await sql.begin(async (tx) => {
    await tx`alter table sessions disable trigger user`;
    await tx`delete from sessions where user_id = ${ada.id}`;
    await tx`alter table sessions enable trigger user`;
  });
  await until(() => stream.isOver && one.closed !== undefined);
  expect(performance.now() - endedAt).toBeLessThan(1_000);
  expect(kept.isOver).toBe(false);
  isOver = true;
  await ending;
}, 15_000);

test("a connection ends with its stream, so that no proxy sends another request on it", async () => {
  const { newUser, server } = await streamWorld();
  const ada = await newUser();
  const connection = createConnection(server.port ?? 0, "127.0.0.1");
  let said = "";
  connection.on("data", (chunk) => {
    said += chunk.toString("latin1");
  });
  connection.write(
    `GET /api/v1/users/me/events/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${ada.token}\r\n\r\n`,
  );
  await until(() => said.includes("retry: "));
  const from = performance.now();
  await ada.post("/auth/logout");
  await new Promise((done) => connection.once("close", done));
  expect(performance.now() - from).toBeLessThan(5_000);
  expect(said).toEndWith("0\r\n\r\n");
  expect(said.toLowerCase()).toContain("\r\nconnection: close\r\n");
});
