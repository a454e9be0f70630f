import { expect, test } from "bun:test";
import { createClient, finishRotation, rotateSecret } from "../../src/modules/oauth/clients.ts";
import { updateUser } from "../../src/modules/users/users.ts";
import { mailWorld, NEW } from "../support/mail-world.ts";
import { PASSWORD, world } from "../support/world.ts";

const operator = { kind: "operator" } as const;

/** Shows whether something was written: the version of the user's row, and the number of events. */
async function writeCountWorld() {
  const here = await world();
  const root = await here.superuser();
  const ada = await here.newUser();
  const written = async () => {
    const [row] = await here.sql`select xmin::text || ' ' || ctid::text as version, updated_at,
      (select count(*)::int from events) as events,
      (select count(*)::int from sessions) as sessions,
      (select count(*)::int from mails) as mails from users where id = ${ada.id}`;
    return row;
  };
  return { ...here, root, ada, written };
}

test("a change to the current value writes nothing, and returns the user", async () => {
  const { ctx, root, ada, written, pass } = await writeCountWorld();
  await ada.patch("/users/me", { full_name: "Ada King", locale: "en-GB" });
  const { body: user, headers } = await ada.get("/users/me");
  const before = await written();
  pass(60_000);
  const same = { full_name: "Ada King", locale: "en-gb", username: "ada" };
  const byRoot = `/users/${ada.id}`;
  for (const answer of [
    await ada.patch("/users/me", same),
    await ada.put("/users/me", { full_name: "Ada King" }),
    await root.patch(byRoot, same),
    await root.patch(byRoot, { is_active: true, is_superuser: false }),
  ]) {
    expect([answer.status, answer.body]).toEqual([200, user]);
    expect(answer.headers.get("etag")).toBe(headers.get("etag"));
  }
  await updateUser(ctx, operator, { id: ada.id, isActive: true, isSuperuser: false });
  expect(await written()).toEqual(before);
  expect((await ada.patch("/users/me", { full_name: null })).body.full_name).toBeNull();
  const cleared = await written();
  await ada.patch("/users/me", { full_name: null });
  expect(await written()).toEqual(cleared);
});

test("an event names only the fields that changed", async () => {
  const { ada, root } = await writeCountWorld();
  await ada.patch("/users/me", { full_name: "Ada King", username: "ada" });
  await root.patch(`/users/${ada.id}`, { full_name: "Ada King", is_superuser: true, locale: null });
  const { body } = await ada.get("/users/me/events?limit=2");
  expect(body.map(({ data }: { data: { fields: string[] } }) => data.fields)).toEqual([
    ["is_superuser"],
    ["full_name"],
  ]);
});

test("of ten equal concurrent changes, one is written", async () => {
  const { ada, sql } = await writeCountWorld();
  const same = { full_name: "Ada King" };
  const answers = await Promise.all(Array.from({ length: 10 }, () => ada.patch("/users/me", same)));
  for (const { status, body } of answers)
    expect([status, body.full_name]).toEqual([200, "Ada King"]);
  expect(
    await sql`select 1 from events where type = 'user.updated' and subject_id = ${ada.id}`,
  ).toHaveLength(1);
});

test("a stale version is refused, also if nothing would change", async () => {
  const { ada, send, written } = await writeCountWorld();
  const old = (await ada.get("/users/me")).headers.get("etag") ?? "";
  await ada.patch("/users/me", { full_name: "Ada King" });
  const before = await written();
  const patch = (version: string) =>
    send("PATCH", "/api/v1/users/me", {
      headers: {
        authorization: `Bearer ${ada.token}`,
        "content-type": "application/json",
        "if-match": version,
      },
      body: JSON.stringify({ full_name: "Ada King" }),
    });
  expect((await patch(old)).status).toBe(412);
  expect((await patch("*")).status).toBe(200);
  const current = (await ada.get("/users/me")).headers.get("etag") ?? "";
  expect((await patch(current)).status).toBe(200);
  expect(await written()).toEqual(before);
});

test("a user who is deactivated again gets no second event and no second mail", async () => {
  const { root, ada, written } = await writeCountWorld();
  await root.patch(`/users/${ada.id}`, { is_active: false });
  const before = await written();
  expect((await root.patch(`/users/${ada.id}`, { is_active: false })).status).toBe(200);
  expect(await written()).toEqual(before);
});

test("the current password is refused as the new one, and ends no session", async () => {
  const { ada, signIn, written } = await writeCountWorld();
  await signIn("ada@example.com");
  const before = await written();
  const change = (current: string, next: string) =>
    ada.put("/users/me/password", { current_password: current, new_password: next });
  expect(await change(PASSWORD, PASSWORD)).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: "/new_password", code: "not_allowed" }] },
  });
  expect((await change(NEW, NEW)).body.code).toBe("invalid_credentials");
  expect(await written()).toEqual(before);
  expect((await change(PASSWORD, NEW)).status).toBe(204);
});

test("what has already ended is not ended again", async () => {
  const { ctx, anonymous, ada, written, sql } = await writeCountWorld();
  const before = await written();
  expect((await ada.delete("/users/me/sessions")).status).toBe(204);
  await ada.post("/auth/logout", { scope: "others" });
  await anonymous.post("/auth/password/reset", { token: "ot_made-up", password: NEW });
  expect(await written()).toEqual(before);
  const { client } = await createClient(ctx, operator, "reports");
  await finishRotation(ctx, operator, client.id);
  await rotateSecret(ctx, operator, client.id);
  await finishRotation(ctx, operator, client.id);
  await finishRotation(ctx, operator, client.id);
  expect(await sql`select 1 from events where type = 'client.rotation_finished'`).toHaveLength(1);
});

test("a verified email is not verified again", async () => {
  const here = await mailWorld();
  const ada = await here.verifiedUser("ada@example.com");
  await here.anonymous.post("/auth/email/verify/resend", { email: "ada@example.com" });
  expect(await here.mails()).toHaveLength(1);
  const [row] = await here.sql`select count(*)::int as times from events
    where subject_id = ${ada.id} and type = 'email.verified'`;
  expect(row).toEqual({ times: 1 });
});

test("a refused registration (REGISTRATION=closed) stores no Idempotency-Key", async () => {
  const { send, sql } = await world({ registration: "closed" });
  for (const key of ["one", "two", "three"]) {
    const { status } = await send("POST", "/api/v1/auth/register", {
      headers: { "content-type": "application/json", "idempotency-key": key },
      body: JSON.stringify({ email: "ada@example.com", password: PASSWORD }),
    });
    expect(status).toBe(403);
  }
  expect(await sql`select 1 from idempotency`).toHaveLength(0);
});
