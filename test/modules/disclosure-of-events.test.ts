/** What the routes about events and webhooks reveal, and to whom. The table is in SECURITY.md. */
import { expect, test } from "bun:test";
import { frozenWorld } from "../support/disclosure.ts";
import { streamWorld } from "../support/stream-world.ts";
import { until } from "../support/until.ts";

test("only superusers read the events of others, which have no email, hash or token", async () => {
  const { ask, newUser, superuser, sql } = await frozenWorld();
  const ada = await newUser();
  expect((await ask("GET /api/v1/events")).status).toBe(401);
  expect((await ada.get("/events")).status).toBe(403);
  const { status, body } = await (await superuser()).get("/events");
  expect([status, body.length]).toEqual([200, 5]);
  const shown = JSON.stringify(body);
  const [user] = await sql`select email, password_hash from users where id = ${ada.id}`;
  for (const secret of [user?.["email"], user?.["password_hash"], ada.token, ada.refreshToken])
    expect(shown).not.toContain(secret);
});

test("streams send each caller what the lists show that caller", async () => {
  const { newUser, superuser, sse, socket } = await streamWorld();
  const [root, ada, bob] = [
    await superuser(),
    await newUser(),
    await newUser("bob@example.com"),
  ] as const;
  await root.patch(`/users/${ada.id}`, { full_name: "Ada" });
  await bob.patch("/users/me", { full_name: "Bob" });
  const after = "0".repeat(32);
  for (const [caller, path] of [
    [ada, "/users/me/events"],
    [root, "/events"],
  ] as const) {
    const { body: listed } = await caller.get(`${path}?after=${after}`);
    const stream = await sse(`${path}/stream?after=${after}`, caller.token);
    const one = await socket(`${path}/ws`, caller.token);
    one.send({ type: "subscribe", events: "*", after });
    await until(() => [stream, one].every(({ events }) => events.length >= listed.length));
    expect([stream.events, one.events]).toEqual([listed, listed]);
    expect(JSON.stringify(listed).includes(bob.id)).toBe(caller === root);
  }
  for (const path of ["/users/me/events", "/events"]) {
    expect((await sse(`${path}/stream`, "x")).status).toBe(401);
    const silent = await socket(`${path}/ws`, undefined);
    silent.send({ type: "subscribe", events: "*", after });
    await until(() => silent.closed !== undefined);
    expect(silent.messages).toEqual([]);
  }
  expect((await sse("/events/stream", ada.token)).status).toBe(403);
  expect((await socket("/events/ws", ada.token)).isOpen).toBe(false);
});

test("no other caller learns of a webhook, and a superuser sees its secret once", async () => {
  const { ask, newUser, superuser } = await frozenWorld();
  const [ada, root] = [await newUser(), await superuser()];
  const hook = { url: "https://hooks.example.com/path", events: ["*"] };
  const { body: created } = await root.post("/webhooks", hook);
  for (const id of [created.id, crypto.randomUUID()])
    for (const rest of ["", "/deliveries"]) {
      expect((await ask(`GET /api/v1/webhooks/${id}${rest}`)).status).toBe(401);
      expect((await ada.get(`/webhooks/${id}${rest}`)).status).toBe(403);
    }
  const answers = [
    await root.get("/webhooks"),
    await root.get(`/webhooks/${created.id}`),
    await root.patch(`/webhooks/${created.id}`, { ordered: true }),
    await root.get("/events"),
  ];
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  expect(JSON.stringify(answers)).not.toContain(created.secret.slice("whsec_".length));
});
