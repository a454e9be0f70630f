import { expect, test } from "bun:test";
import { record } from "../../src/modules/events/events.ts";
import { listMails, readMail } from "../../src/modules/mail/mail.ts";
import { updateUser } from "../../src/modules/users/users.ts";
import { world } from "../support/world.ts";

const operator = { kind: "operator" } as const;
const typesOf = (body: { type: string }[]) => body.map(({ type }) => type);

test("each event of a user records the actor and the origin", async () => {
  const { newUser, superuser, signIn, as } = await world();
  const root = await superuser();
  const ada = await newUser();
  await ada.patch("/users/me", { full_name: "Ada King", locale: null });
  await root.patch(`/users/${ada.id}`, { is_active: false });
  await root.patch(`/users/${ada.id}`, { is_active: true });
  const again = await signIn("ada@example.com", { "user-agent": "curl/8.5.0" });
  const { body } = await as(again.access_token).get("/users/me/events");
  expect(typesOf(body)).toEqual([
    "session.started",
    "user.updated",
    "session.ended",
    "user.updated",
    "user.updated",
    "session.started",
    "user.created",
  ]);
  expect(body[0]).toEqual({
    specversion: "1.0",
    id: expect.any(String),
    source: "http://localhost:3000",
    type: "session.started",
    time: expect.any(String),
    subject: ada.id,
    datacontenttype: "application/json",
    dataversion: 1,
    sequence: expect.stringMatching(/^[\da-f]{32}$/),
    data: {
      actor: { kind: "anonymous", id: null },
      ip: null,
      user_agent: "curl/8.5.0",
      request_id: expect.any(String),
      session_id: expect.any(String),
    },
  });
  expect(body[1].data.actor).toEqual({ kind: "superuser", id: null });
  expect(body[4].data.actor).toEqual({ kind: "user", id: ada.id });
  expect(body[4].data.fields).toEqual(["full_name"]);
  expect(typesOf((await root.get("/users/me/events")).body)).not.toContain("user.deleted");
});

test("a user does not learn which administrator acted, nor from where", async () => {
  const { ctx, newUser, superuser, send, as, signIn, sql } = await world({
    trustedProxies: ["127.0.0.1"],
  });
  const root = await superuser();
  const ada = await newUser();
  const origin = {
    "x-forwarded-for": "203.0.113.7",
    "user-agent": "Admin/1.0",
    "x-request-id": "request-of-the-administrator",
  };
  const byRoot = (body: object) =>
    send("PATCH", `/api/v1/users/${ada.id}`, {
      headers: {
        ...origin,
        authorization: `Bearer ${root.token}`,
        "content-type": "application/json",
      },
      body: JSON.stringify(body),
    });
  const answers = [await byRoot({ is_active: false }), await byRoot({ is_active: true })];
  await updateUser(ctx, operator, { id: ada.id, fullName: "Ada" });
  const own = { "x-forwarded-for": "198.51.100.9", "user-agent": "Phone/2.0" };
  const { access_token: token } = await signIn("ada@example.com", own);
  const { body } = await as(token).get("/users/me/events");
  const hidden = { ip: null, user_agent: null, request_id: null };
  expect(body.slice(0, 4)).toMatchObject([
    {
      type: "session.started",
      data: { actor: { kind: "anonymous", id: null }, ip: "198.51.100.9" },
    },
    { type: "user.updated", data: { actor: { kind: "operator", id: null }, ...hidden } },
    { type: "user.updated", data: { actor: { kind: "superuser", id: null }, ...hidden } },
    { type: "session.ended", data: { actor: { kind: "superuser", id: null }, ...hidden } },
  ]);
  const mails = (await listMails(ctx)).filter(({ recipient }) => recipient === "ada@example.com");
  const texts = await Promise.all(mails.map(async ({ id }) => (await readMail(ctx, id)).rendered));
  const sessions = (await as(token).get("/users/me/sessions")).body;
  const shown = JSON.stringify([body, sessions, (await as(token).get("/users/me")).body, texts]);
  const requestIds = answers.map(({ headers }) => headers.get("x-request-id") ?? "");
  for (const secret of [root.id, "203.0.113.7", "Admin/1.0", "root@example.com", ...requestIds])
    expect(shown).not.toContain(secret);
  // The operator can still find all of it.
  const [row] = await sql`select actor_id, address from events
    where subject_id = ${ada.id} and type = 'user.updated' order by occurred_at, id limit 1`;
  expect(row).toEqual({ actor_id: root.id, address: "203.0.113.7" });
});

test("events are paged from the latest, once each, and outlive the user", async () => {
  const { newUser, send, sql } = await world();
  const ada = await newUser();
  for (let turn = 0; turn < 7; turn += 1)
    await ada.patch("/users/me", { full_name: `Ada ${turn}` });
  const headers = { authorization: `Bearer ${ada.token}` };
  const seen: string[] = [];
  let path: string | undefined = "/api/v1/users/me/events?limit=4&total=true";
  while (path) {
    const page: Awaited<ReturnType<typeof send>> = await send("GET", path, { headers });
    expect(page.headers.get("x-total-count")).toBe("9");
    seen.push(...page.body.map(({ id }: { id: string }) => id));
    path = /<([^>]+)>/.exec(page.headers.get("link") ?? "")?.[1];
  }
  expect(new Set(seen).size).toBe(9);
  expect(seen).toEqual([...seen].sort().reverse());
  await ada.delete("/users/me");
  const left = await sql`select type from events where subject_id = ${ada.id}`;
  expect(left).toHaveLength(11);
});

test("a rolled-back change publishes no event", async () => {
  const { ctx, sql } = await world();
  const subjectId = crypto.randomUUID();
  const failing = ctx.db.transaction(async (tx) => {
    await record({ ...ctx, db: tx }, operator, { type: "user.deleted", subjectId, data: {} });
    throw new Error("the change failed");
  });
  await expect(failing).rejects.toThrow("the change failed");
  expect(await sql`select 1 from events`).toHaveLength(0);
});

test("a reader that stays below the oldest open transaction misses no event that commits out of order", async () => {
  const { ctx, sql } = await world();
  const [early, late] = [crypto.randomUUID(), crypto.randomUUID()];
  const write = (db: typeof ctx.db, subjectId: string) =>
    record({ ...ctx, db }, operator, { type: "user.deleted", subjectId, data: {} });
  const settled = () =>
    sql`
    select subject_id from events where transaction_id < pg_snapshot_xmin(pg_current_snapshot())
    order by transaction_id, position`.then((rows) => rows.map((row) => row["subject_id"]));
  let whileOpen: unknown[] = [];
  await ctx.db.transaction(async (tx) => {
    await write(tx, early);
    await write(ctx.db, late);
    whileOpen = await settled();
  });
  expect(whileOpen).toEqual([]);
  expect(await settled()).toEqual([early, late]);
});

test("an event of an earlier version shows its anonymous actor as events do now", async () => {
  const { newUser, sql } = await world();
  const ada = await newUser();
  await sql`update events set actor_kind = 'stranger' where actor_kind = 'anonymous'`;
  const { status, body } = await ada.get("/users/me/events");
  const kinds = body.map(({ data }: { data: { actor: { kind: string } } }) => data.actor.kind);
  expect([status, new Set(kinds)]).toEqual([200, new Set(["anonymous"])]);
});
