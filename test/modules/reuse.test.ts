import { describe, expect, test } from "bun:test";
import { attacker, owner, SECOND, stolenTokens } from "../support/stolen-tokens.ts";

type Theft = Awaited<ReturnType<typeof stolenTokens>>;

/**
 * Every endpoint that takes a refresh token: its response to a spent one, and to an unknown one.
 */
const endpoints: Record<
  string,
  {
    present: (here: Theft, token: string) => Promise<{ status: number; body: unknown }>;
    answer: object;
  }
> = {
  refresh: {
    present: (here, token) => here.refresh(token, owner),
    answer: { status: 401, body: { code: "invalid_refresh_token" } },
  },
  "the token endpoint": {
    present: (here, token) =>
      here.form("token", { grant_type: "refresh_token", refresh_token: token }),
    answer: { status: 400, body: { error: "invalid_grant" } },
  },
  "sign-out with the token in the body": {
    present: (here, token) => here.logOut(token, owner),
    answer: { status: 401, body: { code: "invalid_refresh_token" } },
  },
  "sign-out with the token in the header": {
    present: (here, token) =>
      here.call("/api/v1/auth/logout", { ...owner, authorization: `Bearer ${token}` }),
    answer: { status: 401, body: { code: "invalid_token" } },
  },
  revocation: {
    present: (here, token) => here.form("revoke", { token }),
    answer: { status: 200, body: {} },
  },
  "revocation by an OAuth client": {
    present: (here, token) => here.form("revoke", { token }, here.credentials),
    answer: { status: 200, body: {} },
  },
  introspection: {
    present: (here, token) => here.form("introspect", { token }, here.credentials),
    answer: { status: 200, body: { active: false } },
  },
};

describe("at every endpoint a spent refresh token ends its session, and an unknown one ends nothing", () => {
  for (const [name, { present, answer }] of Object.entries(endpoints))
    test(name, async () => {
      const here = await stolenTokens();
      const { refresh } = await here.signIn();
      const stolen = await here.refresh(refresh, attacker);
      here.pass(11 * SECOND);
      const { access_token: access, refresh_token: latest } = stolen.body;
      expect(await here.isAlive(access)).toBe(true);
      const letter = refresh[60] === "A" ? "B" : "A";
      for (const unknown of ["rt_nonsense", refresh.slice(0, 60) + letter + refresh.slice(61)])
        expect(await present(here, unknown)).toMatchObject(answer);
      expect([await here.isAlive(access), await here.reuses()]).toEqual([true, 0]);
      expect(await present(here, refresh)).toMatchObject(answer);
      expect([await here.isAlive(access), await here.reuses()]).toEqual([false, 1]);
      expect((await here.refresh(latest, attacker)).status).toBe(401);
      expect(await here.textsFor("ada@example.com", "reuse_detected")).toHaveLength(1);
    });

  for (const [name, { present }] of Object.entries(endpoints))
    test(`${name}: a token that was just spent is not reuse if its own client sends it`, async () => {
      const here = await stolenTokens();
      const { refresh } = await here.signIn();
      await here.next(refresh, owner);
      await present(here, refresh);
      expect(await here.reuses()).toBe(0);
    });
});

describe("signing out by a refresh token in the body", () => {
  test("needs no access token, and takes a scope", async () => {
    const here = await stolenTokens();
    const expected = {
      current: [false, true, true],
      others: [true, false, false],
      all: [false, false, false],
    };
    for (const [scope, alive] of Object.entries(expected)) {
      const three = [await here.signIn(), await here.signIn(), await here.signIn()];
      const answer = await here.logOut(three[0]?.refresh ?? "", owner, { scope });
      expect([answer.status, answer.body]).toEqual([204, ""]);
      const found = await Promise.all(three.map(({ access }) => here.isAlive(access)));
      expect([scope, found]).toEqual([scope, alive]);
    }
    const { refresh, access } = await here.signIn();
    expect((await here.logOut(refresh, owner)).status).toBe(204);
    expect(await here.isAlive(access)).toBe(false);
  });

  test("with the token just spent ends the session too, for the client that rotated it", async () => {
    const here = await stolenTokens();
    const { refresh, access } = await here.signIn();
    await here.next(refresh, owner);
    expect((await here.logOut(refresh, owner)).status).toBe(204);
    expect([await here.isAlive(access), await here.reuses()]).toEqual([false, 0]);
    expect(await here.countOf("session.ended")).toBe(1);
  });

  test("is refused together with an access token, and takes only a refresh token", async () => {
    const here = await stolenTokens();
    const { refresh, access } = await here.signIn();
    const path = "/api/v1/auth/logout";
    const bearer = (token: string) => ({ ...owner, authorization: `Bearer ${token}` });
    const both = await here.call(path, bearer(access), { refresh_token: refresh });
    expect([both.status, both.body.errors[0].pointer]).toEqual([422, "/refresh_token"]);
    const bad = await here.call(path, bearer("x"), { refresh_token: refresh });
    expect([bad.status, bad.body.code]).toEqual([401, "invalid_token"]);
    for (const token of [access, "", "x"])
      expect((await here.logOut(token, owner)).body.code).toBe("invalid_refresh_token");
    const none = await here.call(path, owner, { refresh_token: 5 });
    expect([none.status, none.body.code]).toEqual([401, "not_signed_in"]);
    expect((await here.logOut(refresh, owner, { scope: "x" })).status).toBe(422);
    expect(await here.isAlive(access)).toBe(true);
  });
});

test("introspection within the grace ends nothing: its caller is not the client of the token", async () => {
  const here = await stolenTokens();
  const { refresh, device } = await here.signIn();
  await here.next(refresh, { ...owner, device });
  const { body } = await here.form("introspect", { token: refresh }, here.credentials);
  expect(body).toMatchObject({ active: true });
  expect(await here.reuses()).toBe(0);
});
