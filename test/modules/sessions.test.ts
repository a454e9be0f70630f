import { describe, expect, test } from "bun:test";
import { readRefreshToken, writeRefreshToken } from "../../src/credentials/refresh-token.ts";
import { logIn } from "../../src/modules/auth/auth.ts";
import { purgeSessions } from "../../src/modules/sessions/sessions.ts";
import { PASSWORD, world } from "../support/world.ts";

const SECOND = 1000;
const DAY = 86_400 * SECOND;

describe("a refresh token", () => {
  test("is valid once, and its successor continues the same session", async () => {
    const { newUser, refresh, as } = await world();
    const ada = await newUser();
    const first = await refresh(ada.refreshToken);
    expect(first.status).toBe(200);
    expect(first.body).toEqual({
      access_token: expect.any(String),
      token_type: "bearer",
      expires_in: 900,
      refresh_token: expect.stringMatching(/^rt_[\w-]{112}$/),
    });
    expect(first.headers.get("cache-control")).toBe("no-store");
    expect((await refresh(first.body.refresh_token)).status).toBe(200);
    expect((await as(first.body.access_token).get("/users/me/sessions")).body).toHaveLength(1);
  });

  test("that was just spent gets the same successor, as long as that is unspent", async () => {
    const { newUser, refresh, pass } = await world();
    const ada = await newUser();
    const answers = await Promise.all(Array.from({ length: 20 }, () => refresh(ada.refreshToken)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ body }) => body.refresh_token)).size).toBe(1);
    pass(5 * SECOND);
    const again = await refresh(ada.refreshToken);
    expect(again.body.refresh_token).toBe(answers[0]?.body.refresh_token);
  });

  test("of a slow tab, whose successor is already spent, is refused, and the session continues", async () => {
    const { newUser, refresh } = await world();
    const ada = await newUser();
    let latest = ada.refreshToken;
    for (let turn = 0; turn < 3; turn += 1) latest = (await refresh(latest)).body.refresh_token;
    expect((await refresh(ada.refreshToken)).body.code).toBe("invalid_refresh_token");
    expect((await refresh(latest)).status).toBe(200);
  });

  test("that is reused later ends the session, and its owner can read why", async () => {
    const { anonymous, newUser, refresh, pass, as } = await world();
    for (const generations of [1, 3, 12]) {
      const ada = await newUser(`ada${generations}@example.com`);
      let latest = ada.refreshToken;
      let access = ada.token;
      for (let turn = 0; turn < generations; turn += 1) {
        const { body } = await refresh(latest);
        latest = body.refresh_token;
        access = body.access_token;
      }
      pass(11 * SECOND);
      const attacker = await refresh(ada.refreshToken);
      expect([attacker.status, attacker.body.code]).toEqual([401, "invalid_refresh_token"]);
      expect((await refresh(latest)).status).toBe(401);
      expect((await as(access).get("/users/me")).body.code).toBe("invalid_token");
      const { body: token } = await anonymous.post("/auth/login", {
        username: ada.user.email,
        password: PASSWORD,
      });
      const { body: events } = await as(token.access_token).get("/users/me/events");
      expect(events.map(({ type }: { type: string }) => type)).toContain("session.reuse_detected");
    }
  });

  test("that nobody issued, or whose session has ended, gets the same refusal and ends nothing", async () => {
    const { anonymous, newUser, refresh, as, sql } = await world();
    const [ada, bob] = [await newUser(), await newUser("bob@example.com")];
    await as(bob.token).post("/auth/logout", {});
    const real = readRefreshToken(ada.refreshToken);
    if (!real) throw new Error("the token of a sign-in can be read");
    const { body: next } = await refresh(ada.refreshToken);
    const made = (parts: Partial<typeof real>) => writeRefreshToken({ ...real, ...parts });
    const flipped = (at: number) => {
      const letter = ada.refreshToken[at] === "A" ? "B" : "A";
      return ada.refreshToken.slice(0, at) + letter + ada.refreshToken.slice(at + 1);
    };
    const other = Buffer.alloc(16, 7);
    const refused: Record<string, string> = {
      garbage: "garbage",
      "a JWT": ada.token,
      truncated: ada.refreshToken.slice(0, -1),
      longer: `${ada.refreshToken}A`,
      "another secret, tag kept": flipped(60),
      "another session, tag kept": flipped(8),
      "another tag": flipped(ada.refreshToken.length - 3),
      "names a living session, never issued": made({ seed: other, secret: Buffer.alloc(32, 1) }),
      "an ended session's": bob.refreshToken,
      "a session that never was": made({ sessionId: crypto.randomUUID(), seed: other }),
    };
    for (const [what, token] of Object.entries(refused)) {
      const { status, body, headers } = await refresh(token);
      expect([what, status, body.code, body.detail]).toEqual([
        what,
        401,
        "invalid_refresh_token",
        "Could not refresh the session",
      ]);
      expect(headers.get("www-authenticate")).toBe('Bearer realm="bunker"');
    }
    for (const body of [
      {},
      { refresh_token: 1 },
      { refresh_token: "" },
      { refresh_token: "x".repeat(513) },
    ])
      expect((await anonymous.post("/auth/refresh", body)).status).toBe(422);
    expect((await refresh(next.refresh_token)).status).toBe(200);
    const [row] =
      await sql`select count(*)::int as n from events where type = 'session.reuse_detected'`;
    expect(row?.["n"]).toBe(0);
  });

  test("expires after 30 days without use, and after 90 days in any case", async () => {
    const { as, newUser, refresh, pass } = await world();
    const [ada, bob] = [await newUser(), await newUser("bob@example.com")];
    pass(29 * DAY);
    let { body } = await refresh(ada.refreshToken);
    pass(2 * DAY);
    expect((await refresh(bob.refreshToken)).status).toBe(401);
    for (const days of [29, 20, 9]) {
      ({ body } = await refresh(body.refresh_token));
      pass(days * DAY);
    }
    pass(DAY - 300_000);
    const last = await refresh(body.refresh_token);
    expect(last.body.expires_in).toBeWithin(295, 301);
    pass(361_000);
    expect((await refresh(last.body.refresh_token)).status).toBe(401);
    expect((await as(last.body.access_token).get("/users/me")).status).toBe(401);
  });

  test("is never stored in clear text", async () => {
    const { newUser, sql } = await world();
    const ada = await newUser();
    const token = readRefreshToken(ada.refreshToken);
    const [row] = await sql`select * from sessions`;
    const stored = Object.values(row ?? {}).map((value) =>
      Buffer.isBuffer(value) ? value.toString("hex") : String(value),
    );
    for (const part of [token?.secret, token?.seed])
      expect(stored.some((text) => text.includes(part?.toString("hex") ?? ""))).toBe(false);
  });

  test("of a deactivated user is refused", async () => {
    const { newUser, refresh, superuser, as } = await world();
    const [root, ada] = [await superuser(), await newUser()];
    await as(root.token).patch(`/users/${ada.id}`, { is_active: false });
    expect((await refresh(ada.refreshToken)).status).toBe(401);
    await as(root.token).patch(`/users/${ada.id}`, { is_active: true });
    expect((await refresh(ada.refreshToken)).status).toBe(401);
    expect((await as(ada.token).get("/users/me")).status).toBe(401);
  });
});

describe("sessions", () => {
  test("show their device and origin, and whether they are the current one", async () => {
    const { newUser, signIn, as } = await world();
    await newUser();
    const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    const here = await signIn("ada@example.com", { "user-agent": firefox });
    await signIn("ada@example.com", { "user-agent": "curl/8.5.0" });
    const { body } = await as(here.access_token).get("/users/me/sessions");
    expect(body.map(({ device }: { device: string }) => device)).toEqual([
      "curl",
      "Firefox on Linux",
      null,
    ]);
    expect(body.map((one: { is_current: boolean }) => one.is_current)).toEqual([
      false,
      true,
      false,
    ]);
    expect(Object.keys(body[0])).toEqual([
      ...["id", "device", "ip", "created_at", "last_used_at", "is_current"],
    ]);
  });

  test("are ended by their owner, with their access tokens, and by nobody else", async () => {
    const { newUser, signIn, as } = await world();
    const [ada, bob] = [await newUser(), await newUser("bob@example.com")];
    const other = await signIn("ada@example.com");
    const list = (await as(ada.token).get("/users/me/sessions")).body;
    const theirs = list.find((one: { is_current: boolean }) => !one.is_current).id;
    expect((await bob.delete(`/users/me/sessions/${theirs}`)).status).toBe(404);
    expect((await ada.delete("/users/me/sessions/nonsense")).status).toBe(422);
    expect((await as(other.access_token).get("/users/me")).status).toBe(200);
    expect((await ada.delete(`/users/me/sessions/${theirs}`)).status).toBe(204);
    expect((await as(other.access_token).get("/users/me")).status).toBe(401);
    expect((await ada.delete(`/users/me/sessions/${theirs}`)).status).toBe(404);
    const more = await signIn("ada@example.com");
    expect((await ada.delete("/users/me/sessions")).status).toBe(204);
    expect((await as(more.access_token).get("/users/me")).status).toBe(401);
    expect((await ada.get("/users/me")).status).toBe(200);
    expect((await bob.get("/users/me")).status).toBe(200);
  });

  test("end by logout: current, others or all, also with the refresh token", async () => {
    const { newUser, signIn, refresh, as, send } = await world();
    await newUser();
    const three = () => Promise.all([1, 2, 3].map(() => signIn("ada@example.com")));
    const living = async (tokens: { access_token: string }[]) =>
      (await Promise.all(tokens.map((token) => as(token.access_token).get("/users/me")))).map(
        ({ status }) => status === 200,
      );
    const expected = {
      current: [false, true, true],
      others: [true, false, false],
      all: [false, false, false],
    };
    for (const [scope, alive] of Object.entries(expected)) {
      const byAccess = await three();
      expect((await as(byAccess[0]?.access_token).post("/auth/logout", { scope })).status).toBe(
        204,
      );
      expect([scope, await living(byAccess)]).toEqual([scope, alive]);
      const byRefresh = await three();
      expect((await as(byRefresh[0]?.refresh_token).post("/auth/logout", { scope })).status).toBe(
        204,
      );
      expect([scope, await living(byRefresh)]).toEqual([scope, alive]);
    }
    const last = await signIn("ada@example.com");
    const headers = { authorization: `Bearer ${last.access_token}` };
    expect((await send("POST", "/api/v1/auth/logout", { headers })).status).toBe(204);
    expect((await refresh(last.refresh_token)).status).toBe(401);
    expect((await as(last.refresh_token).post("/auth/logout", {})).body.code).toBe("invalid_token");
    expect((await as().post("/auth/logout", {})).body.code).toBe("not_signed_in");
    expect((await as("").post("/auth/logout", { scope: "x" })).status).toBe(401);
  });

  test("a refresh token gives access to nothing else", async () => {
    const { newUser, as } = await world();
    const ada = await newUser();
    expect((await as(ada.refreshToken).get("/users/me")).body.code).toBe("invalid_token");
  });

  test("of one user have a maximum number: the least recently used one ends", async () => {
    const { newUser, signIn, refresh, as, pass } = await world({ sessionsPerAccount: 3 });
    const [ada, bob] = [await newUser(), await newUser("bob@example.com")];
    pass(SECOND);
    const second = await signIn("ada@example.com");
    pass(SECOND);
    await refresh(ada.refreshToken);
    await signIn("ada@example.com");
    const last = await signIn("ada@example.com");
    expect((await refresh(second.refresh_token)).status).toBe(401);
    expect((await as(second.access_token).get("/users/me")).status).toBe(401);
    expect((await ada.get("/users/me")).status).toBe(200);
    expect((await bob.get("/users/me")).status).toBe(200);
    expect((await as(last.access_token).get("/users/me/sessions")).body).toHaveLength(3);
    const { body: events } = await ada.get("/users/me/events?limit=3");
    expect(events.map(({ type }: { type: string }) => type).sort()).toEqual([
      "session.ended",
      "session.started",
      "session.started",
    ]);
  });

  test("are trimmed by the next sign-in after concurrent ones, all of which succeed", async () => {
    const { ctx, newUser, sql } = await world({ sessionsPerAccount: 5, rateLimit: "off" });
    await newUser();
    // No hashing in between: all of them reach the database at the same moment.
    const hashing = { ...ctx.hashing, pass: async <T>() => true as T };
    const input = { username: "ada", password: PASSWORD };
    for (let round = 0; round < 20; round += 1)
      await Promise.all(
        Array.from({ length: 20 }, () => logIn({ ...ctx, hashing }, { kind: "anonymous" }, input)),
      );
    await logIn({ ...ctx, hashing }, { kind: "anonymous" }, input);
    expect(await sql`select 1 from sessions`).toHaveLength(5);
  });

  test("all end, however many there are, each with its event", async () => {
    const { newUser, sql } = await world();
    const ada = await newUser();
    await sql`insert into sessions (id, user_id, created_at, last_used_at, current_hash, seed_hash)
      select gen_random_uuid(), ${ada.id}, now(), now(), '', '' from generate_series(1, 7000)`;
    expect((await ada.post("/auth/logout", { scope: "all" })).status).toBe(204);
    expect(await sql`select 1 from sessions`).toHaveLength(0);
    expect(await sql`select 1 from events where type = 'session.ended'`).toHaveLength(7001);
  });

  test("that have expired are purged in batches, and active ones are not", async () => {
    const { ctx, newUser, refresh, pass, sql } = await world();
    const [ada] = [await newUser(), await newUser("bob@example.com")];
    pass(20 * DAY);
    await refresh(ada.refreshToken);
    pass(20 * DAY);
    expect(await purgeSessions(ctx)).toBe(1);
    expect(await purgeSessions(ctx)).toBe(0);
    const [row] = await sql`select count(*)::int as n from sessions`;
    expect(row?.["n"]).toBe(1);
  });
});
