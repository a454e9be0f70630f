import { describe, expect, test } from "bun:test";
import { policies } from "../../src/limits/policies.ts";
import {
  createClient,
  deleteClient,
  finishRotation,
  rotateSecret,
} from "../../src/modules/oauth/clients.ts";
import { purgeRevokedTokens } from "../../src/modules/oauth/revoked-tokens.ts";
import { PASSWORD, world } from "../support/world.ts";

const operator = { kind: "operator" } as const;

/** A form, as a client without a library sends it. */
async function bare(settings: Parameters<typeof world>[0] = {}) {
  const here = await world(settings);
  const { client: made, secret } = await createClient(here.ctx, operator, "reports");
  const post = (path: string, form: Record<string, string>, authorization?: string) =>
    here.send("POST", `/oauth/${path}`, {
      headers: {
        "content-type": "application/x-www-form-urlencoded",
        ...(authorization ? { authorization } : {}),
      },
      body: new URLSearchParams(form).toString(),
    });
  const basic = (id = made.id, word = secret) =>
    `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(word)}`).toString("base64")}`;
  return { ...here, id: made.id, secret, post, basic };
}

describe("an error response has the shape of RFC 6749", () => {
  test("for each mistake", async () => {
    const { post, basic, id, secret, newUser } = await bare();
    const ada = await newUser();
    const grant = { grant_type: "client_credentials" };
    const cases: [string, Awaited<ReturnType<typeof post>>, number, string][] = [
      ["no grant", await post("token", {}), 400, "invalid_request"],
      [
        "another grant",
        await post("token", { grant_type: "implicit" }),
        400,
        "unsupported_grant_type",
      ],
      [
        "password, which is off",
        await post("token", { grant_type: "password", username: "ada", password: PASSWORD }),
        400,
        "unsupported_grant_type",
      ],
      [
        "no refresh token",
        await post("token", { grant_type: "refresh_token" }),
        400,
        "invalid_request",
      ],
      [
        "a made-up refresh token",
        await post("token", { grant_type: "refresh_token", refresh_token: "rt_x" }),
        400,
        "invalid_grant",
      ],
      [
        "a scope",
        await post("token", { ...grant, scope: "users:read" }, basic()),
        400,
        "invalid_scope",
      ],
      ["no client", await post("token", grant), 401, "invalid_client"],
      ["an unknown client", await post("token", grant, basic(ada.id)), 401, "invalid_client"],
      [
        "a client that is no id",
        await post("token", grant, basic("reports")),
        401,
        "invalid_client",
      ],
      [
        "a wrong secret",
        await post("token", grant, basic(id, `${secret}x`)),
        401,
        "invalid_client",
      ],
      ["an unreadable header", await post("token", grant, "Basic ???"), 401, "invalid_client"],
      [
        "two ways at once",
        await post("token", { ...grant, client_secret: secret }, basic()),
        401,
        "invalid_client",
      ],
      [
        "an id without its secret",
        await post("token", { ...grant, client_id: id }),
        401,
        "invalid_client",
      ],
      [
        "a session for a confidential client",
        await post(
          "token",
          { grant_type: "refresh_token", refresh_token: ada.refreshToken },
          basic(),
        ),
        400,
        "unauthorized_client",
      ],
      ["nothing to revoke", await post("revoke", {}), 400, "invalid_request"],
      [
        "a wrong client that revokes",
        await post("revoke", { token: "x" }, basic(id, "x")),
        401,
        "invalid_client",
      ],
      [
        "introspection without credentials",
        await post("introspect", { token: ada.token }),
        401,
        "invalid_client",
      ],
    ];
    for (const [kind, { status, body, headers }, expected, error] of cases) {
      expect([kind, status, body.error, typeof body.error_description]).toEqual([
        kind,
        expected,
        error,
        "string",
      ]);
      expect(headers.get("content-type")).toStartWith("application/json");
      expect(headers.get("cache-control")).toBe("no-store");
      if (expected === 401) expect(headers.get("www-authenticate")).toStartWith("Basic ");
    }
    expect((await ada.get("/users/me")).status).toBe(200);
  });

  test("revoking something that is no token, or a token of no session, succeeds and ends nothing", async () => {
    const { post, basic, newUser } = await bare();
    const ada = await newUser();
    for (const token of ["nonsense", "rt_nonsense", `${ada.token}x`])
      expect((await post("revoke", { token, token_type_hint: "whatever" })).status).toBe(200);
    expect((await post("revoke", { token: "x".repeat(5_000) })).status).toBe(200);
    // Another client cannot end a session, and gets an error (RFC 7009, section 2.1).
    const refused = await post("revoke", { token: ada.refreshToken }, basic());
    expect([refused.status, refused.body.error]).toEqual([400, "unauthorized_client"]);
    expect((await ada.get("/users/me")).status).toBe(200);
    expect((await post("revoke", { token: ada.token })).status).toBe(200);
    expect((await ada.get("/users/me")).status).toBe(401);
  });
});

test("an anonymous caller is rate limited at every endpoint; an authenticated client is not", async () => {
  const few = { quota: 20, refill: 20, periodSeconds: 60 };
  const here = await bare({
    trustedProxies: ["127.0.0.1"],
    limits: { ...policies, "requests-anonymous": few },
  });
  const statusesOf = async (ask: () => Promise<{ status: number }>) => {
    const answers = await Promise.all(Array.from({ length: 25 }, ask));
    return answers.filter(({ status }) => status === 429).length;
  };
  const token = "nonsense";
  expect(await statusesOf(() => here.post("introspect", { token }, here.basic()))).toBe(0);
  expect(await statusesOf(() => here.post("revoke", { token }))).toBe(5);
});

test("an empty client_secret of the public client does not make it another client", async () => {
  const { post, basic, send, newUser } = await bare();
  const { refreshToken } = await newUser();
  const form = { grant_type: "refresh_token", refresh_token: refreshToken };
  expect((await post("token", { ...form, client_secret: "x" })).body.error).toBe("invalid_client");
  expect((await post("token", { ...form, client_id: "bunker" })).status).toBe(200);
  expect((await post("token", form, basic("bunker", ""))).status).toBe(200);
  const slash = await send("POST", "/oauth/token/", {
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: "grant_type=nonsense",
  });
  expect([slash.status, slash.body.error]).toEqual([400, "unsupported_grant_type"]);
});

test("a client's own token belongs to no user, and becomes inactive when the client is deleted", async () => {
  const { ctx, post, basic, id, as } = await bare();
  const { body } = await post("token", { grant_type: "client_credentials" }, basic());
  expect(Object.keys(body).sort()).toEqual(["access_token", "expires_in", "token_type"]);
  expect((await as(body.access_token).get("/users/me")).status).toBe(401);
  const { id: introspector, secret } = await createClient(ctx, operator, "witness").then(
    (made) => ({
      id: made.client.id,
      secret: made.secret,
    }),
  );
  const ask = () => post("introspect", { token: body.access_token }, basic(introspector, secret));
  expect((await ask()).body).toMatchObject({ active: true, sub: id });
  await deleteClient(ctx, operator, id);
  expect((await ask()).body).toEqual({ active: false });
  expect((await post("token", { grant_type: "client_credentials" }, basic())).status).toBe(401);
});

test("a client revokes its own token, and no other client can", async () => {
  const { ctx, post, basic, pass } = await bare();
  const grant = async () =>
    (await post("token", { grant_type: "client_credentials" }, basic())).body.access_token;
  const [token, other] = [await grant(), await grant()];
  const introspector = await createClient(ctx, operator, "witness");
  const asIntrospector = basic(introspector.client.id, introspector.secret);
  const isActive = async (one: string) =>
    (await post("introspect", { token: one }, asIntrospector)).body.active;
  for (const credentials of [asIntrospector, undefined]) {
    const refused = await post("revoke", { token }, credentials);
    expect([refused.status, refused.body.error]).toEqual([400, "unauthorized_client"]);
  }
  expect(await isActive(token)).toBe(true);
  for (const _ of [1, 2]) expect((await post("revoke", { token }, basic())).status).toBe(200);
  expect([await isActive(token), await isActive(other)]).toEqual([false, true]);
  expect(await purgeRevokedTokens(ctx)).toBe(0);
  pass(16 * 60_000);
  expect((await post("revoke", { token }, basic())).status).toBe(200);
  expect([await purgeRevokedTokens(ctx), await purgeRevokedTokens(ctx)]).toEqual([1, 0]);
});

test("two secrets are accepted during a rotation", async () => {
  const { ctx, post, basic, id, secret, sql } = await bare();
  const kept = JSON.stringify(await sql`select *, encode(secret_hash, 'escape') from clients`);
  expect(kept).not.toContain(secret);
  const young = await rotateSecret(ctx, operator, id);
  const statusOf = async (word: string) =>
    (await post("token", { grant_type: "client_credentials" }, basic(id, word))).status;
  expect([await statusOf(secret), await statusOf(young)]).toEqual([200, 200]);
  await finishRotation(ctx, operator, id);
  expect([await statusOf(secret), await statusOf(young)]).toEqual([401, 200]);
  await deleteClient(ctx, operator, id);
  const recorded = await sql`select type from events where subject_id = ${id} order by position`;
  expect(recorded.map(({ type }) => type)).toEqual([
    "client.created",
    "client.secret_rotated",
    "client.rotation_finished",
    "client.deleted",
  ]);
});

test("the password grant exists only if it is enabled", async () => {
  const { post, newUser, send } = await bare({ oauthPasswordGrant: "on" });
  await newUser();
  const form = { grant_type: "password", username: "ada@example.com", password: PASSWORD };
  const signedIn = await post("token", form);
  expect(signedIn.body).toMatchObject({
    token_type: "bearer",
    refresh_token: expect.any(String),
  });
  expect(signedIn.headers.get("device-token")).toStartWith("dt_");
  expect((await post("token", { ...form, password: "wrong" })).body.error).toBe("invalid_grant");
  const metadata = (await send("GET", "/.well-known/oauth-authorization-server")).body;
  expect(metadata).toMatchObject({
    issuer: "http://localhost:3000",
    response_types_supported: [],
    grant_types_supported: ["refresh_token", "client_credentials", "password"],
  });
});
