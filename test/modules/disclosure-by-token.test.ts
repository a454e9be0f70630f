/**
 * What callers with a token, an id or a key learn about other users. A row of SECURITY.md names
 * each test, and the last test compares the two.
 */

import { describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { newSecret, writeRefreshToken } from "../../src/credentials/refresh-token.ts";
import { createClient } from "../../src/modules/oauth/clients.ts";
import { ADA, frozenWorld, NOBODY, visible } from "../support/disclosure.ts";
import { mailWorld, NEW } from "../support/mail-world.ts";
import { few, ipOf, proxiedWorld, wrong } from "../support/proxied-world.ts";
import { PASSWORD, world } from "../support/world.ts";

/**
 * A token that we issued counts by its session, and a made-up one by client IP. Only a caller with
 * the token can notice.
 */
const withoutLimits = (answer: Awaited<ReturnType<typeof visible>>) => {
  const { ratelimit: _, "ratelimit-policy": __, ...headers } = answer.headers;
  return { ...answer, headers };
};

describe("an anonymous caller with a token, an id or a path", () => {
  test("gets the same response to a token that is made up, of an ended session, or of a deleted user", async () => {
    const { ask, newUser, signIn, anonymous } = await frozenWorld();
    const [ada, bob] = [await newUser(), await newUser("bob@example.com")];
    const ended = await signIn(ADA);
    const { sessions } = { sessions: (await ada.get("/users/me/sessions")).body };
    const other = sessions.find(({ is_current }: { is_current: boolean }) => !is_current);
    await ada.delete(`/users/me/sessions/${other.id}`);
    await bob.delete("/users/me");
    expect(
      (await anonymous.post("/auth/refresh", { refresh_token: ada.refreshToken })).status,
    ).toBe(200);
    const made = writeRefreshToken({
      sessionId: other.id,
      generation: 0,
      seed: randomBytes(16),
      secret: newSecret(),
    });
    const spentOrGone = [ended.refresh_token, bob.refreshToken];
    const requests: ((token: string) => ReturnType<typeof ask>)[] = [
      (token) => ask("POST /api/v1/auth/refresh", { refresh_token: token }),
      (token) => ask("POST /api/v1/auth/logout", {}, `Bearer ${token}`),
      (token) => ask("POST /oauth/token", `grant_type=refresh_token&refresh_token=${token}`),
      (token) => ask("POST /oauth/revoke", `token=${token}`),
      (token) => ask("POST /oauth/introspect", `token=${token}`),
    ];
    for (const request of requests) {
      const known = withoutLimits(await request(made));
      for (const token of spentOrGone) expect(withoutLimits(await request(token))).toEqual(known);
    }
    const forged = `${ada.token.slice(0, -4)}AAAA`;
    const read = async (token: string) =>
      withoutLimits(await ask("GET /api/v1/users/me", {}, `Bearer ${token}`));
    const known = await read(forged);
    for (const token of [ended.access_token, bob.token, "x"])
      expect(await read(token)).toEqual(known);
  });

  test("gets the same response for every id, by every method", async () => {
    const { ask, newUser } = await frozenWorld();
    const ada = await newUser();
    for (const method of ["GET", "HEAD", "OPTIONS", "PATCH", "PUT", "POST", "DELETE", "TRACE"])
      for (const rest of ["", "/unlock", "/sessions"]) {
        const read = (id: string) => ask(`${method} /api/v1/users/${id}${rest}`);
        const known = await read(ada.id);
        for (const id of [crypto.randomUUID(), "not-an-id"])
          expect([method, rest, await read(id)]).toEqual([method, rest, known]);
      }
  });

  test("gets a stored response of an Idempotency-Key only from its own client IP and with the same body", async () => {
    const { send } = await frozenWorld();
    const register = (from: string, email: string) =>
      send("POST", "/api/v1/auth/register", {
        headers: {
          "content-type": "application/json",
          "x-forwarded-for": from,
          "idempotency-key": "the-same-key",
        },
        body: JSON.stringify({ email, password: PASSWORD }),
      });
    const made = await register(ipOf(1), ADA);
    expect((await register(ipOf(1), ADA)).body).toEqual(made.body);
    expect((await register(ipOf(2), ADA)).body).toMatchObject({ code: "email_taken" });
    const other = await register(ipOf(1), NOBODY);
    expect(other.body).toMatchObject({ code: "idempotency_key_reused" });
    expect(JSON.stringify(other.body)).not.toContain(made.body.id);
  });

  test("reads nothing about users on routes without authentication", async () => {
    const { ask, newUser } = await frozenWorld({ environment: "production" });
    const read = async () => {
      const paths = ["/", "/livez", "/readyz", "/readyz/server", "/health", "/healthz", "/version"];
      const pages = [
        "/docs",
        "/openapi.json",
        "/problems",
        "/problems/not_found",
        "/favicon.ico",
        "/forgot-password",
      ];
      const wellKnown = ["jwks.json", "oauth-authorization-server", "change-password"];
      const closed = [
        "/metrics",
        "/dev/mailbox",
        "/dev/mailbox.json",
        "/dev/mailbox/x",
        "/dev/mailbox/x/html",
      ];
      const all = [
        ...paths,
        ...pages,
        ...wellKnown.map((name) => `/.well-known/${name}`),
        ...closed,
      ];
      return Promise.all([...all, "/docs/assets/swagger-ui.css"].map((path) => ask(`GET ${path}`)));
    };
    const empty = JSON.stringify(await read());
    const { id } = await newUser("grace@example.com");
    const said = JSON.stringify(await read());
    expect(said === empty).toBe(true);
    for (const text of [id, "grace@example.com"]) expect(said.includes(text)).toBe(false);
  });

  test("learns from limits by client IP only what clients with the same IP do", async () => {
    const { send } = await frozenWorld();
    const left = async (from: string, email: string) =>
      (
        await send("POST", "/api/v1/auth/password/forgot", {
          headers: { "content-type": "application/json", "x-forwarded-for": from },
          body: JSON.stringify({ email }),
        })
      ).headers.get("ratelimit");
    expect(await left("203.0.113.1", ADA)).toBe('"mail-address";r=19;t=3600');
    expect(await left("203.0.113.1", NOBODY)).toBe('"mail-address";r=18;t=3600');
    expect(await left("203.0.113.2", ADA)).toBe('"mail-address";r=19;t=3600');
  });

  test("sees a lock end only if the user signs in with that name, or a password is set", async () => {
    const { post, logIn, pass } = await proxiedWorld({ "login-streak": few });
    const device = (await logIn(ipOf(0))).headers.get("device-token") ?? "";
    const guess = async (at: number, username: string) =>
      (await post("login", ipOf(at), { username, password: wrong })).status;
    for (const username of [ADA, "ada"])
      for (let at = 1; at < 5; at += 1) await guess(at, username);
    await logIn(ipOf(9), PASSWORD, device);
    pass(1_100);
    expect([await guess(10, ADA), await guess(11, "ada")]).toEqual([401, 429]);
  });
});

describe("a signed-in user", () => {
  test("reads and changes only their own", async () => {
    const { newUser, sql } = await mailWorld();
    const [ada, bob] = [await newUser(), await newUser("bob@example.com")];
    await bob.patch("/users/me", { full_name: "Bob Builder" });
    const [session] = await sql<
      { id: string }[]
    >`select id from sessions where user_id = ${bob.id}`;
    for (const path of ["/users/me", "/users/me/sessions", "/users/me/events"]) {
      const said = JSON.stringify((await ada.get(path)).body);
      for (const text of [bob.id, "bob@example.com", "Bob Builder", session?.id ?? ""])
        expect([path, said.includes(text)]).toEqual([path, false]);
    }
    const [theirs, made] = [session?.id, crypto.randomUUID()];
    const end = async (id: string | undefined) =>
      visible(await ada.delete(`/users/me/sessions/${id}`));
    expect((await end(theirs)).body).toEqual((await end(made)).body);
    expect((await bob.get("/users/me")).status).toBe(200);
  });

  test("learns whether a user has a username by changing to it", async () => {
    const { newUser } = await mailWorld();
    const ada = await newUser();
    await newUser("bob@example.com");
    for (const method of ["patch", "put"] as const)
      expect((await ada[method]("/users/me", { username: "bob" })).body.code).toBe(
        "username_taken",
      );
  });

  test("does not learn whether a user has an email by changing to it", async () => {
    const { ask, newUser, verifiedUser } = await frozenWorld();
    const ada = await newUser();
    await verifiedUser("bob@example.com");
    const change = (email: string) =>
      ask(
        "POST /api/v1/users/me/email",
        { email, current_password: PASSWORD },
        `Bearer ${ada.token}`,
      );
    const [taken, free] = [await change("bob@example.com"), await change("free@example.com")];
    expect(taken.status).toBe(202);
    expect([taken.body, Object.keys(taken.headers)]).toEqual([
      free.body,
      Object.keys(free.headers),
    ]);
  });

  test("gets 403 for every id, and a superuser gets the user without the hash", async () => {
    const { ask, newUser, superuser, sql } = await frozenWorld();
    const [ada, bob, root] = [await newUser(), await newUser("bob@example.com"), await superuser()];
    const paths = [bob.id, crypto.randomUUID(), "not-an-id"].map((id) => `/api/v1/users/${id}`);
    const routes = ["GET *", "PATCH *", "DELETE *", "POST */unlock"];
    const all = paths.flatMap((path) => routes.map((route) => route.replace("*", path)));
    for (const route of [...all, "GET /api/v1/users"]) {
      const answer = await ask(route, {}, `Bearer ${ada.token}`);
      expect([route, answer.status, answer.body.code]).toEqual([route, 403, "forbidden"]);
    }
    const read = (id: string) => root.get(`/users/${id}`);
    const found = await read(bob.id);
    expect([found.body.email, (await read(crypto.randomUUID())).status]).toEqual([
      "bob@example.com",
      404,
    ]);
    const [row] = await sql<
      { hash: string }[]
    >`select password_hash as hash from users where id = ${bob.id}`;
    for (const answer of [found, await root.get("/users")])
      expect(JSON.stringify(answer.body)).not.toContain(row?.hash ?? "");
  });
});

test("an OAuth client with its secret reads what a token of any user says; every other caller gets 401", async () => {
  const { ctx, ask, newUser } = await frozenWorld();
  const ada = await newUser();
  const { client, secret } = await createClient(ctx, { kind: "operator" }, "shop");
  const introspect = (token: string, id = "", word = "") =>
    ask("POST /oauth/introspect", `token=${token}&client_id=${id}&client_secret=${word}`);
  expect((await introspect(ada.token, client.id, secret)).body).toMatchObject({
    active: true,
    sub: ada.id,
    username: "ada",
  });
  expect((await introspect("x", client.id, secret)).body).toMatchObject({ active: false });
  const refused = await introspect(ada.token, client.id, "cs_wrong");
  expect(refused.status).toBe(401);
  expect(await introspect("x", crypto.randomUUID(), "cs_wrong")).toEqual(refused);
});

test("mails go only to the email that they are about, and notices only to a verified one", async () => {
  const { ask, newUser, verifiedUser, superuser, mails } = await frozenWorld();
  await verifiedUser();
  const bob = await newUser("bob@example.com");
  const before = await mails();
  for (const email of [ADA, NOBODY]) {
    await ask("POST /api/v1/auth/password/forgot", { email });
    await bob.post("/users/me/email", { email });
  }
  await mails();
  await bob.put("/users/me/password", { current_password: PASSWORD, new_password: NEW });
  await (await superuser()).patch(`/users/${bob.id}`, { is_active: false });
  const sent = (await mails()).filter((one) => !before.includes(one));
  expect(sent.sort()).toEqual(
    [
      `address_taken ${ADA}`,
      `change_email ${NOBODY}`,
      `reset_password ${ADA}`,
      "verify_email root@example.com",
    ].sort(),
  );
});

const root = join(import.meta.dir, "../..");

test("each row of the table has its test, each test its row, and each route is in a row", async () => {
  const page = await Bun.file(join(root, "SECURITY.md")).text();
  const section = page.split("## What each endpoint reveals")[1]?.split("\n## ")[0] ?? "";
  const rows = section
    .split("\n")
    .filter((line) => line.startsWith("| ") && !line.startsWith("| endpoint"));
  const named = rows.map((row) => row.split(" | ").at(-1)?.replace(/ \|$/, "") ?? "");
  const files = [
    "disclosure.test.ts",
    "disclosure-by-token.test.ts",
    "disclosure-of-events.test.ts",
  ];
  const source = await Promise.all(
    files.map((name) => Bun.file(join(import.meta.dir, name)).text()),
  );
  const tests = [...source.join("\n").matchAll(/^ *test\("([^"]+)"/gm)].map(
    ([, name]) => name ?? "",
  );
  expect(named.toSorted()).toEqual(
    tests.filter((name) => !name.startsWith("each row of")).toSorted(),
  );
  const endpoints = rows.map((row) => row.split(" | ")[0]).join(" ");
  const { bunkerRoutes } = await world();
  const missing = bunkerRoutes
    .map(({ method, path }) => `\`${method} ${path.replace("/api/v1", "")}\``)
    .filter((route) => !endpoints.includes(route));
  expect(missing).toEqual([]);
});
