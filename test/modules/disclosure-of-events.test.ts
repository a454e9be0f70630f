/** What the routes about events and webhooks reveal, and to whom. The table is in SECURITY.md. */
import { expect, test } from "bun:test";
import { frozenWorld } from "../support/disclosure.ts";

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
