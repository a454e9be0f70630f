import { afterAll, describe, expect, test } from "bun:test";
import * as oauth from "oauth4webapi";
import * as client from "openid-client";
import {
  createClient,
  deleteClient,
  finishRotation,
  rotateSecret,
} from "../../src/modules/oauth/clients.ts";
import { PASSWORD, world } from "../support/world.ts";

const servers: { stop: (close: boolean) => unknown }[] = [];
afterAll(() => {
  for (const server of servers) server.stop(true);
});

/** A world that listens: off-the-shelf clients come by the network. */
async function listening(settings: Parameters<typeof world>[0] = {}) {
  let handle: (request: Request) => Promise<Response> = async () => new Response();
  const server = Bun.serve({ port: 0, fetch: (request) => handle(request) });
  servers.push(server);
  const publicUrl = `http://localhost:${server.port}`;
  const here = await world({ publicUrl, ...settings });
  handle = (request) => here.app.handle(request);
  const made = await createClient(here.ctx, "reports");
  return { ...here, issuer: new URL(publicUrl), id: made.client.id, secret: made.secret };
}
const insecure = { [oauth.allowInsecureRequests]: true };

/** A form, as a client without a library sends it. */
async function bare(settings: Parameters<typeof world>[0] = {}) {
  const here = await world(settings);
  const { client: made, secret } = await createClient(here.ctx, "reports");
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

test("oauth4webapi drives it unmodified: discovery, refresh, client credentials, introspection, revocation", async () => {
  const { issuer, person, id, secret } = await listening({ algorithm: "EdDSA" });
  const ada = await person();
  const found = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...insecure });
  const as = await oauth.processDiscoveryResponse(issuer, found);

  const open: oauth.Client = { client_id: "bunker" };
  const answer = await oauth.refreshTokenGrantRequest(
    as,
    open,
    oauth.None(),
    ada.refreshToken,
    insecure,
  );
  const token = await oauth.processRefreshTokenResponse(as, open, answer);
  expect(token.refresh_token).not.toBe(ada.refreshToken);

  const ours: oauth.Client = { client_id: id };
  const basic = oauth.ClientSecretBasic(secret);
  const granted = await oauth.clientCredentialsGrantRequest(as, ours, basic, {}, insecure);
  const own = await oauth.processClientCredentialsResponse(as, ours, granted);
  const introspect = async (one: string) =>
    oauth.processIntrospectionResponse(
      as,
      ours,
      await oauth.introspectionRequest(as, ours, basic, one, insecure),
    );
  expect(await introspect(own.access_token)).toMatchObject({
    active: true,
    sub: id,
    client_id: id,
  });
  expect(await introspect(token.access_token)).toMatchObject({
    active: true,
    sub: ada.id,
    client_id: "bunker",
    username: "ada",
  });
  expect(await introspect(token.refresh_token ?? "")).toMatchObject({ active: true, sub: ada.id });

  const request = new Request(issuer.href, {
    headers: { authorization: `Bearer ${token.access_token}` },
  });
  const claims = await oauth.validateJwtAccessToken(as, request, issuer.origin, insecure);
  expect(claims.sub).toBe(ada.id);

  await oauth.processRevocationResponse(
    await oauth.revocationRequest(as, open, oauth.None(), token.refresh_token ?? "", insecure),
  );
  expect(await introspect(token.access_token)).toEqual({ active: false });
  expect((await ada.get("/users/me")).status).toBe(401);
});

test("openid-client drives it unmodified, too", async () => {
  const { issuer, person, id, secret } = await listening();
  const ada = await person();
  const options = { algorithm: "oauth2" as const, execute: [client.allowInsecureRequests] };
  const ours = await client.discovery(
    issuer,
    id,
    undefined,
    client.ClientSecretPost(secret),
    options,
  );
  const open = await client.discovery(issuer, "bunker", undefined, client.None(), options);
  expect(ours.serverMetadata().grant_types_supported).toEqual([
    "refresh_token",
    "client_credentials",
  ]);
  const own = await client.clientCredentialsGrant(ours);
  expect(await client.tokenIntrospection(ours, own.access_token)).toMatchObject({
    active: true,
    sub: id,
  });
  const token = await client.refreshTokenGrant(open, ada.refreshToken);
  expect(await client.tokenIntrospection(ours, token.access_token)).toMatchObject({
    active: true,
    sub: ada.id,
  });
  await client.tokenRevocation(open, token.access_token);
  expect(await client.tokenIntrospection(ours, token.refresh_token ?? "")).toMatchObject({
    active: false,
  });
  expect(client.refreshTokenGrant(open, token.refresh_token ?? "")).rejects.toMatchObject({
    error: "invalid_grant",
  });
});

describe("a refusal is shaped as RFC 6749 has it", () => {
  test("for each mistake", async () => {
    const { post, basic, id, secret, person } = await bare();
    const ada = await person();
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
        "introspection by anybody",
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

  test("revoking what is no token, or what belongs to nobody any more, succeeds and ends nothing", async () => {
    const { post, basic, person } = await bare();
    const ada = await person();
    for (const token of ["nonsense", "rt_nonsense", `${ada.token}x`])
      expect((await post("revoke", { token, token_type_hint: "whatever" })).status).toBe(200);
    // Another client ends nobody's session.
    expect((await post("revoke", { token: ada.refreshToken }, basic())).status).toBe(200);
    expect((await ada.get("/users/me")).status).toBe(200);
    expect((await post("revoke", { token: ada.token })).status).toBe(200);
    expect((await ada.get("/users/me")).status).toBe(401);
  });
});

test("a client's own token is nobody's account, and dies with the client at introspection", async () => {
  const { ctx, post, basic, id, as } = await bare();
  const { body } = await post("token", { grant_type: "client_credentials" }, basic());
  expect(Object.keys(body).sort()).toEqual(["access_token", "expires_in", "token_type"]);
  expect((await as(body.access_token).get("/users/me")).status).toBe(401);
  expect((await post("revoke", { token: body.access_token })).body.error).toBe(
    "unsupported_token_type",
  );
  const { id: witness, secret } = await createClient(ctx, "witness").then((made) => ({
    id: made.client.id,
    secret: made.secret,
  }));
  const ask = () => post("introspect", { token: body.access_token }, basic(witness, secret));
  expect((await ask()).body).toMatchObject({ active: true, sub: id });
  await deleteClient(ctx, id);
  expect((await ask()).body).toEqual({ active: false });
  expect((await post("token", { grant_type: "client_credentials" }, basic())).status).toBe(401);
});

test("two secrets are good while one is rotated", async () => {
  const { ctx, post, basic, id, secret } = await bare();
  const young = await rotateSecret(ctx, id);
  const statusOf = async (word: string) =>
    (await post("token", { grant_type: "client_credentials" }, basic(id, word))).status;
  expect([await statusOf(secret), await statusOf(young)]).toEqual([200, 200]);
  await finishRotation(ctx, id);
  expect([await statusOf(secret), await statusOf(young)]).toEqual([401, 200]);
});

test("the password grant is there only where it is asked for", async () => {
  const { post, person, send } = await bare({ oauthPasswordGrant: "on" });
  await person();
  const form = { grant_type: "password", username: "ada@example.com", password: PASSWORD };
  expect((await post("token", form)).body).toMatchObject({
    token_type: "bearer",
    refresh_token: expect.any(String),
  });
  expect((await post("token", { ...form, password: "wrong" })).body.error).toBe("invalid_grant");
  const metadata = (await send("GET", "/.well-known/oauth-authorization-server")).body;
  expect(metadata).toMatchObject({
    issuer: "http://localhost:3000",
    response_types_supported: [],
    grant_types_supported: ["refresh_token", "client_credentials", "password"],
  });
});
