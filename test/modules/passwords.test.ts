import { describe, expect, test } from "bun:test";
import { logIn } from "../../src/modules/auth/auth.ts";
import { reauthenticate, setPassword } from "../../src/modules/passwords/passwords.ts";
import { findUser, getUser, updateUser } from "../../src/modules/users/users.ts";
import { PASSWORD, world } from "../support/world.ts";

const NEW = "a stable full of correct horses";
const operator = { kind: "operator" } as const;

describe("a password change", () => {
  test("needs the current password, and ends the other sessions but not this one", async () => {
    const { anonymous, newUser, signIn, as, refresh } = await world();
    const ada = await newUser();
    const other = await signIn("ada@example.com");
    const change = (current_password: string, new_password: string) =>
      ada.put("/users/me/password", { current_password, new_password });
    expect((await change("wrong wrong wrong", NEW)).body.code).toBe("invalid_credentials");
    expect((await change(PASSWORD, "short")).body.errors).toMatchObject([
      { pointer: "/new_password", code: "too_short" },
    ]);
    expect((await as(other.access_token).get("/users/me")).status).toBe(200);
    expect((await change(PASSWORD, NEW)).status).toBe(204);
    expect((await ada.get("/users/me")).status).toBe(200);
    expect((await as(other.access_token).get("/users/me")).status).toBe(401);
    expect((await refresh(other.refresh_token)).status).toBe(401);
    const login = (password: string) =>
      anonymous.post("/auth/login", { username: "ada", password });
    expect((await login(PASSWORD)).status).toBe(401);
    expect((await login(NEW)).status).toBe(200);
  });

  test("by the operator ends every session", async () => {
    const { ctx, newUser, refresh } = await world();
    const ada = await newUser();
    const user = await getUser(ctx, operator, ada.id);
    await setPassword(ctx, operator, { user, password: NEW });
    expect((await ada.get("/users/me")).status).toBe(401);
    expect((await refresh(ada.refreshToken)).status).toBe(401);
  });
});

test("a sign-in that races with a password change or a deactivation gets no session", async () => {
  const { ctx, newUser, sql } = await world();
  const ada = await newUser();
  const user = await getUser(ctx, operator, ada.id);
  const overtakenBy = (change: () => Promise<unknown>) => {
    const run: typeof ctx.hashing.run = async (work) => {
      const done = await ctx.hashing.run(work);
      await change();
      return done;
    };
    const input = { username: "ada", password: PASSWORD };
    return logIn({ ...ctx, hashing: { ...ctx.hashing, run } }, { kind: "anonymous" }, input);
  };
  const ways = [
    () => updateUser(ctx, operator, { id: ada.id, isActive: false }),
    () => setPassword(ctx, operator, { user, password: NEW }),
  ];
  for (const way of ways) {
    await expect(overtakenBy(way)).rejects.toMatchObject({ code: "invalid_credentials" });
    expect(await sql`select 1 from sessions`).toHaveLength(0);
    await updateUser(ctx, operator, { id: ada.id, isActive: true });
  }
});

test("of two concurrent changes that start from the same password, one succeeds", async () => {
  const { anonymous, newUser } = await world();
  const ada = await newUser();
  const passwords = [NEW, `${NEW}, and a mare`];
  const answers = await Promise.all(
    passwords.map((new_password) =>
      ada.put("/users/me/password", { current_password: PASSWORD, new_password }),
    ),
  );
  expect(answers.map(({ status }) => status).sort()).toEqual([204, 401]);
  const made = passwords[answers.findIndex(({ status }) => status === 204)] ?? "";
  expect((await anonymous.post("/auth/login", { username: "ada", password: made })).status).toBe(
    200,
  );
});

test("the password is verified for the user's id: another user may have taken the name", async () => {
  const { ctx, newUser } = await world();
  const [ada, eve] = [await newUser(), await newUser("eve@example.com", NEW)];
  const stale = await getUser(ctx, operator, ada.id);
  await updateUser(ctx, operator, { id: ada.id, username: "ada-before" });
  await updateUser(ctx, operator, { id: eve.id, username: "ada" });
  const actor = {
    kind: "user" as const,
    user: stale,
    session: { id: crypto.randomUUID(), createdAt: new Date(0) },
  };
  await expect(reauthenticate(ctx, actor, NEW)).rejects.toMatchObject({
    code: "invalid_credentials",
  });
  await reauthenticate(ctx, actor, PASSWORD);
});

describe("a user is deleted", () => {
  test("also while being deactivated: the two do not deadlock in either order", async () => {
    const { ctx, newUser, superuser } = await world({ rateLimit: "off" });
    const root = await superuser();
    for (let round = 0; round < 12; round += 1) {
      const one = await newUser(`one-${round}@example.com`);
      const answers = await Promise.all([
        root.delete(`/users/${one.id}`),
        root.patch(`/users/${one.id}`, { is_active: false }),
        root.delete(`/users/${one.id}`),
      ]);
      for (const { status } of answers) expect([200, 204, 404]).toContain(status);
      expect(await findUser(ctx, one.id)).toBeUndefined();
    }
  });

  test("permanently, by themselves, after a recent sign-in or with the password", async () => {
    const { anonymous, newUser, pass, refresh, as } = await world();
    const [ada, bob] = [await newUser(), await newUser("bob@example.com")];
    expect((await bob.delete("/users/me")).status).toBe(204);
    expect((await bob.get("/users/me")).status).toBe(401);
    pass(11 * 60_000);
    const late = await ada.delete("/users/me");
    expect([late.status, late.body.code]).toEqual([401, "reauthentication_required"]);
    expect(late.headers.get("www-authenticate")).toContain("insufficient_user_authentication");
    const { body: refreshed } = await refresh(ada.refreshToken);
    expect((await as(refreshed.access_token).delete("/users/me")).status).toBe(401);
    const wrong = await ada.delete("/users/me", { current_password: "wrong wrong" });
    expect(wrong.body.code).toBe("invalid_credentials");
    expect((await ada.delete("/users/me", { current_password: PASSWORD })).status).toBe(204);
    for (const username of ["ada", "bob"])
      expect((await anonymous.post("/auth/login", { username, password: PASSWORD })).status).toBe(
        401,
      );
    expect((await newUser()).user.email).toBe("ada@example.com");
  });

  test("by a superuser, but never the last superuser, also if two delete each other concurrently", async () => {
    const { anonymous, newUser, superuser } = await world();
    const [root, ada] = [await superuser(), await newUser()];
    expect((await ada.delete(`/users/${root.id}`)).status).toBe(403);
    expect((await anonymous.delete(`/users/${ada.id}`)).status).toBe(401);
    expect((await root.delete(`/users/${ada.id}`)).status).toBe(204);
    expect((await root.delete(`/users/${ada.id}`)).status).toBe(404);
    expect((await ada.get("/users/me")).status).toBe(401);
    expect((await root.delete("/users/me")).body.code).toBe("last_superuser");
    const second = await superuser("second@example.com");
    const both = await Promise.all([
      root.delete(`/users/${second.id}`),
      second.delete(`/users/${root.id}`),
    ]);
    expect(both.map(({ status }) => status).filter((status) => status === 204)).toHaveLength(1);
  });
});
