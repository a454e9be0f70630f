/** OAuth client libraries of others, unmodified. */
import { afterAll, expect, test } from "bun:test";
import * as oauth from "oauth4webapi";
import * as client from "openid-client";
import { createClient } from "../../src/modules/oauth/clients.ts";
import { world } from "../support/world.ts";

const operator = { kind: "operator" } as const;

const servers: { stop: (close: boolean) => unknown }[] = [];
afterAll(() => {
  for (const server of servers) server.stop(true);
});

/** A world that listens on a port, because these clients use the network. */
async function listening(settings: Parameters<typeof world>[0] = {}) {
  let handle: (request: Request) => Promise<Response> = async () => new Response();
  const server = Bun.serve({ port: 0, fetch: (request) => handle(request) });
  servers.push(server);
  const publicUrl = `http://localhost:${server.port}`;
  const here = await world({ publicUrl, ...settings });
  handle = (request) => here.app.handle(request);
  const made = await createClient(here.ctx, operator, "reports");
  return { ...here, issuer: new URL(publicUrl), id: made.client.id, secret: made.secret };
}
const insecure = { [oauth.allowInsecureRequests]: true };

test("oauth4webapi works unmodified: discovery, refresh, client credentials, introspection, revocation", async () => {
  const { issuer, newUser, id, secret } = await listening({ algorithm: "EdDSA" });
  const ada = await newUser();
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

test("openid-client works unmodified, too", async () => {
  const { issuer, newUser, id, secret } = await listening();
  const ada = await newUser();
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
