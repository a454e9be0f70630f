import { expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { createApp } from "../../src/app.ts";
import { accessTokens } from "../../src/credentials/access-token.ts";
import { openKeyRing } from "../../src/credentials/key-ring.ts";
import { type Algorithm, algorithms, secretName } from "../../src/credentials/token-key.ts";
import type { Ctx } from "../../src/ctx.ts";
import { listKeys, maintainKeys, prepareKeys, retireKey } from "../../src/modules/keys/keys.ts";
import { createClient } from "../../src/modules/oauth/clients.ts";
import { SECRET, world } from "../support/world.ts";

const operator = { kind: "operator" } as const;
const MINUTE = 60_000;
const LIFETIME = 15 * MINUTE;
/** Longer than a key is accepted after its last token has expired. */
const SLACK = 3 * MINUTE;
const NEW_SECRET = "pQ8mZr3vTn6Kx1Ls9Yw4Hb7Jd2Fg5Ca0";
type Secrets = readonly [string, ...string[]];
type Pair = { access_token: string; refresh_token: string };

/** How a server process responds. */
function instanceOf(ctx: Ctx) {
  const app = createApp(ctx);
  const send = (path: string, init: RequestInit = {}) =>
    app.handle(new Request(`http://localhost${path}`, init));
  const form = { "content-type": "application/x-www-form-urlencoded" };
  return {
    ctx,
    tend: () => maintainKeys(ctx),
    statusOf: async (token: string) =>
      (await send("/api/v1/users/me", { headers: { authorization: `Bearer ${token}` } })).status,
    refresh: async (token: string) => {
      const headers = { "content-type": "application/json" };
      const body = JSON.stringify({ refresh_token: token });
      const answer = await send("/api/v1/auth/refresh", { method: "POST", headers, body });
      return (await answer.json()) as Pair;
    },
    publishedKids: async () => {
      const answer = await send("/.well-known/jwks.json");
      return ((await answer.json()) as { keys: { kid: string }[] }).keys.map(({ kid }) => kid);
    },
    isActive: async (token: string, client: { id: string; secret: string }) => {
      const authorization = `Basic ${btoa(`${client.id}:${client.secret}`)}`;
      const init = { method: "POST", headers: { ...form, authorization }, body: `token=${token}` };
      return ((await (await send("/oauth/introspect", init)).json()) as { active: boolean }).active;
    },
  };
}

/** Another server process on the same database, with its own keys in memory. */
async function startInstance(ctx: Ctx, algorithm: Algorithm, secrets: Secrets = [SECRET]) {
  const keyRing = openKeyRing({ algorithm, secrets });
  const { publicUrl } = ctx.config;
  const tokens = accessTokens({
    keys: keyRing,
    issuer: publicUrl,
    audience: publicUrl,
    lifetimeSeconds: LIFETIME / 1000,
    remembered: 100,
  });
  const own = { ...ctx, keyRing, tokens, config: { ...ctx.config, algorithm } };
  await prepareKeys(own);
  return instanceOf(own);
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const decode = (part = "") => JSON.parse(Buffer.from(part, "base64url").toString());
const kidOf = (token: string): string => decode(token.split(".")[0]).kid;

/**
 * A token that an attacker with the secret makes: `iat` is in the past, `exp` far in the future.
 */
function forge(token: string, secret = SECRET): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = { ...decode(token.split(".")[1]), iat: now - 86_400, exp: now + 86_400 * 365 };
  const header = { alg: "HS256", kid: secretName(secret), typ: "at+jwt" };
  const input = `${encode(header)}.${encode(claims)}`;
  return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
}

test.each(["EdDSA", "ES256"] as const)(
  "an installation that always signed with %s accepts no HS256 token",
  async (algorithm) => {
    const { ctx, newUser } = await world({ algorithm });
    const { token } = await newUser();
    const here = instanceOf(ctx);
    const client = await newClient(ctx);
    expect(await here.statusOf(forge(token))).toBe(401);
    expect(await here.isActive(forge(token), client)).toBe(false);
    expect([await here.statusOf(token), await here.isActive(token, client)]).toEqual([200, true]);
  },
);

async function newClient(ctx: Ctx) {
  const { client, secret } = await createClient(ctx, operator, "a service");
  return { id: client.id, secret };
}

const changes = algorithms.flatMap((before) =>
  algorithms.filter((after) => after !== before).map((after) => [before, after] as const),
);

test.each(changes)(
  "from %s to %s: old tokens are accepted until the last of them has expired",
  async (before, after) => {
    const { ctx, newUser, pass } = await world({ algorithm: before });
    const { token, refreshToken } = await newUser();
    const [old, young] = [instanceOf(ctx), await startInstance(ctx, after)];
    const client = await newClient(ctx);
    // Both processes serve and sign for ten minutes.
    pass(10 * MINUTE);
    for (const instance of [old, young]) await instance.tend();
    const last = await old.refresh(refreshToken);
    const renewed = await young.refresh(last.refresh_token);
    expect(kidOf(last.access_token)).toBe(kidOf(token));
    expect(kidOf(renewed.access_token)).not.toBe(kidOf(token));
    for (const instance of [old, young])
      for (const one of [token, last.access_token, renewed.access_token])
        expect(await instance.statusOf(one)).toBe(200);
    // The old process has stopped.
    pass(LIFETIME - MINUTE);
    await young.tend();
    expect(await young.statusOf(last.access_token)).toBe(200);
    expect(await young.isActive(last.access_token, client)).toBe(true);
    const published = (await young.publishedKids()).includes(kidOf(token));
    expect(published).toBe(before !== "HS256");
    const forged = forge(token);
    if (before === "HS256") expect(await young.statusOf(forged)).toBe(200);
    pass(MINUTE + SLACK);
    // Whether or not the database was read meanwhile, and although the token was verified before.
    expect(await young.statusOf(forged)).toBe(after === "HS256" ? 200 : 401);
    await young.tend();
    if (before === "HS256") expect(await young.statusOf(forged)).toBe(401);
    if (before === "HS256") expect(await young.isActive(forged, client)).toBe(false);
    expect(young.ctx.keyRing.find(token.split(".")[0] ?? "", ctx.now())).toBeUndefined();
    expect(await young.publishedKids()).not.toContain(kidOf(token));
    const back = await startInstance(ctx, before);
    expect(await back.statusOf((await back.refresh(renewed.refresh_token)).access_token)).toBe(200);
  },
);

test("an older secret is accepted while an instance signs with it, and until its last tokens expire", async () => {
  const { ctx, newUser, pass } = await world();
  const { token, refreshToken } = await newUser();
  // Step 1 of the change: every instance knows the new secret.
  const old = await startInstance(ctx, "HS256", [SECRET, NEW_SECRET]);
  expect(await old.statusOf(forge(token, NEW_SECRET))).toBe(401);
  // Step 2: the instances sign with it, one after the other.
  const young = await startInstance(ctx, "HS256", [NEW_SECRET, SECRET]);
  const next = await young.refresh(refreshToken);
  for (const instance of [old, young])
    for (const one of [token, next.access_token]) expect(await instance.statusOf(one)).toBe(200);
  pass(LIFETIME - MINUTE);
  await young.tend();
  expect(await young.statusOf(forge(token))).toBe(200);
  pass(MINUTE + SLACK);
  expect(await young.statusOf(forge(token))).toBe(401);
  await young.tend();
  expect(await young.statusOf(forge(token))).toBe(401);
  expect(await young.statusOf(forge(token, NEW_SECRET))).toBe(200);
});

test("a command does not make instances accept the key that the command would sign with", async () => {
  const { ctx, newUser } = await world({ algorithm: "EdDSA" });
  const { token } = await newUser();
  const keyRing = openKeyRing({ algorithm: "HS256", secrets: [SECRET] });
  const next = (await listKeys(ctx)).find(({ state }) => state === "next");
  await retireKey({ ...ctx, keyRing }, operator, next?.kid ?? "");
  await maintainKeys(ctx);
  expect(await instanceOf(ctx).statusOf(forge(token))).toBe(401);
});

test("a key used by an instance with a wrong clock is not accepted for longer", async () => {
  const { ctx, newUser, pass, sql } = await world();
  const { token } = await newUser();
  pass(40 * 86_400_000);
  await maintainKeys(ctx);
  pass(-40 * 86_400_000);
  const young = await startInstance(ctx, "EdDSA");
  expect(await young.statusOf(token)).toBe(401);
  // An instance with a correct clock that signs with the key corrects this.
  await maintainKeys(ctx);
  expect(await young.statusOf(token)).toBe(200);
  expect(await sql`select 1 from key_uses where accepted_until > now() + interval '1 day'`).toEqual(
    [] as never,
  );
});

test("with a read-only database, an instance starts and accepts tokens", async () => {
  const { ctx, newUser, sql } = await world({ algorithm: "EdDSA" });
  const { token } = await newUser();
  await sql`truncate key_uses`;
  await sql`create function refuse() returns trigger language plpgsql as
    $$ begin raise exception using errcode = '25006'; end $$`;
  await sql`create trigger refuse before insert on key_uses execute function refuse()`;
  const young = await startInstance(ctx, "EdDSA");
  expect(await young.statusOf(token)).toBe(200);
  expect(await young.statusOf(forge(token))).toBe(401);
  await sql`drop function refuse cascade`;
});
