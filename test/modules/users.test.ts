import { describe, expect, test } from "bun:test";
import { updateUser } from "../../src/modules/users/users.ts";
import { world } from "../support/world.ts";

const MINUTE = 60_000;

describe("the own user", () => {
  test("is returned for the access token", async () => {
    const { newUser } = await world();
    const ada = await newUser();
    expect(await ada.get("/users/me")).toMatchObject({ status: 200, body: ada.user });
  });

  test("PUT and PATCH change what is given, null clears, the rest stays", async () => {
    const { newUser, pass } = await world();
    const ada = await newUser();
    pass(MINUTE);
    const put = await ada.put("/users/me", { full_name: "Ada King", locale: "EN-gb" });
    expect(put.body).toMatchObject({ full_name: "Ada King", locale: "en-GB", username: "ada" });
    expect(put.body.updated_at > ada.user.updated_at).toBe(true);
    const patch = await ada.patch("/users/me", { full_name: null, username: "countess" });
    expect(patch.body).toMatchObject({ full_name: null, locale: "en-GB", username: "countess" });
  });

  test("fields with their own endpoint, or that users may not change, are refused by name and change nothing", async () => {
    const { newUser } = await world();
    const ada = await newUser();
    for (const [name, value] of Object.entries({
      email: "x@example.com",
      password: "a new pass phrase",
      is_superuser: true,
      is_active: false,
      id: "1",
    })) {
      const answer = await ada.patch("/users/me", { full_name: "Changed", [name]: value });
      expect(answer).toMatchObject({
        status: 422,
        body: { errors: [{ pointer: `/${name}`, code: "not_writable" }] },
      });
    }
    expect((await ada.get("/users/me")).body).toEqual(ada.user);
  });

  test("a taken username is refused", async () => {
    const { newUser } = await world();
    const ada = await newUser();
    await newUser("bob@example.com");
    expect(await ada.patch("/users/me", { username: "BOB" })).toMatchObject({
      status: 409,
      body: { code: "username_taken" },
    });
    expect((await ada.patch("/users/me", { username: "ADA" })).body.username).toBe("ADA");
  });

  test("two users who take each other's username concurrently get a refusal, not an error", async () => {
    const { newUser } = await world({ rateLimit: "off" });
    const [ada, bob] = [await newUser("ada@example.com"), await newUser("bob@example.com")];
    for (let round = 0; round < 30; round += 1) {
      const answers = await Promise.all([
        ada.patch("/users/me", { username: "bob" }),
        bob.patch("/users/me", { username: "ada" }),
      ]);
      expect(answers.map(({ status }) => status)).toEqual([409, 409]);
    }
  });

  test("a deactivated user is refused at once, and old tokens stay refused after reactivation", async () => {
    const { newUser, superuser, signIn, as } = await world();
    const root = await superuser();
    const ada = await newUser();
    await root.patch(`/users/${ada.id}`, { is_active: false });
    expect(await ada.get("/users/me")).toMatchObject({
      status: 401,
      body: { code: "invalid_token", detail: "Could not validate credentials" },
    });
    await root.patch(`/users/${ada.id}`, { is_active: true });
    expect((await ada.get("/users/me")).status).toBe(401);
    const again = await signIn("ada@example.com");
    expect((await as(again.access_token).get("/users/me")).status).toBe(200);
  });

  test("an access token expires after 15 minutes", async () => {
    const { newUser, pass } = await world();
    const ada = await newUser();
    pass(15 * MINUTE - 2000);
    expect((await ada.get("/users/me")).status).toBe(200);
    pass(3000);
    expect((await ada.get("/users/me")).status).toBe(401);
  });
});

describe("all users", () => {
  test("are visible to superusers only, and other callers do not learn which ids exist", async () => {
    const { anonymous, newUser } = await world();
    const ada = await newUser();
    const bob = await newUser("bob@example.com");
    for (const path of [
      "/users",
      `/users/${bob.id}`,
      "/users/019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f70",
    ]) {
      expect(await anonymous.get(path)).toMatchObject({
        status: 401,
        body: { code: "not_signed_in" },
      });
      expect(await ada.get(path)).toMatchObject({ status: 403, body: { code: "forbidden" } });
    }
    expect(await ada.patch(`/users/${bob.id}`, { is_active: false })).toMatchObject({
      status: 403,
    });
  });

  test("are read and changed by id", async () => {
    const { newUser, superuser } = await world();
    const root = await superuser();
    const ada = await newUser();
    expect((await root.get(`/users/${ada.id}`)).body).toEqual(ada.user);
    const changed = await root.patch(`/users/${ada.id}`, { is_superuser: true, full_name: "Ada" });
    expect(changed.body).toMatchObject({ id: ada.id, is_superuser: true, full_name: "Ada" });
    expect((await ada.get("/users")).status).toBe(200);
    const unknownUser = "/users/019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f70";
    expect(await root.get(unknownUser)).toMatchObject({ status: 404, body: { code: "not_found" } });
    expect(await root.patch(unknownUser, { full_name: "X" })).toMatchObject({ status: 404 });
    expect(await root.get("/users/7")).toMatchObject({
      status: 422,
      body: { errors: [{ pointer: "/path/id", code: "wrong_format" }] },
    });
  });

  test("the last active superuser remains, also if two demote each other concurrently", async () => {
    const { superuser, sql } = await world();
    const root = await superuser();
    for (const change of [{ is_superuser: false }, { is_active: false }])
      expect(await root.patch(`/users/${root.id}`, change)).toMatchObject({
        status: 409,
        body: { code: "last_superuser" },
      });
    const other = await superuser("other@example.com");
    for (let round = 0; round < 20; round += 1) {
      await Promise.all([
        root.patch(`/users/${other.id}`, { is_superuser: false }),
        other.patch(`/users/${root.id}`, { is_active: false }),
      ]);
      const left = await sql`select id from users where is_superuser and is_active`;
      expect(left.length).toBeGreaterThan(0);
      await sql`update users set is_superuser = true, is_active = true`;
    }
  });

  test("are listed in a stable order, by skip and by cursor, once each", async () => {
    const { newUser, superuser, pass } = await world();
    const root = await superuser();
    const ids = [root.id];
    for (const name of ["a", "b", "c", "d"]) {
      pass(1000);
      ids.push((await newUser(`${name}${name}${name}@example.com`)).id);
    }
    const idsOf = (body: { id: string }[]) => body.map(({ id }) => id);
    const all = await root.get("/users?total=true");
    expect(idsOf(all.body)).toEqual(ids);
    expect(all.headers.get("x-total-count")).toBe("5");
    expect(all.headers.get("link")).toBeNull();
    expect(idsOf((await root.get("/users?skip=1&limit=2")).body)).toEqual(ids.slice(1, 3));

    const seen: string[] = [];
    let path: string | undefined = "/users?limit=2";
    while (path) {
      const page = await root.get(path);
      seen.push(...idsOf(page.body));
      path = /^<\/api\/v1([^>]+)>; rel="next"$/.exec(page.headers.get("link") ?? "")?.[1];
    }
    expect(seen).toEqual(ids);
  });

  test("a list refuses invalid pages", async () => {
    const { superuser } = await world();
    const root = await superuser();
    const refusals = {
      "limit=0": "/query/limit",
      "limit=201": "/query/limit",
      "limit=1.5": "/query/limit",
      "limit=ten": "/query/limit",
      "skip=-1": "/query/skip",
      "skip=10001": "/query/skip",
      "cursor=%27%20or%201=1": "/query/cursor",
      "cursor=bm90IG9uZQ": "/query/cursor",
      "total=maybe": "/query/total",
      "total=constructor": "/query/total",
      [`cursor=${btoa("999999999999999 019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f70")}`]: "/query/cursor",
      "sort=password_hash": "/query",
    };
    for (const [query, pointer] of Object.entries(refusals)) {
      const answer = await root.get(`/users?${query}`);
      expect([query, answer.status, answer.body.errors?.[0]?.pointer]).toEqual([
        query,
        422,
        pointer,
      ]);
    }
  });
});

test("updated_at changes also if a statement does not set it", async () => {
  const { ctx, newUser, sql } = await world();
  const ada = await newUser();
  await sql`update users set full_name = 'By hand' where id = ${ada.id}`;
  const [row] = await sql`select updated_at > created_at as moved from users where id = ${ada.id}`;
  expect(row?.["moved"]).toBe(true);
  const before = await sql`select updated_at from users where id = ${ada.id}`;
  await sql`update users set full_name = 'By hand' where id = ${ada.id}`;
  expect(await sql`select updated_at from users where id = ${ada.id}`).toEqual(before);
  const changed = await updateUser(ctx, { kind: "operator" }, { id: ada.id, fullName: "By verb" });
  expect(changed.fullName).toBe("By verb");
});
