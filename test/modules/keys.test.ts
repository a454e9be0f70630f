import { describe, expect, setSystemTime, test } from "bun:test";
import {
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKeyInput,
  sign,
  verify,
} from "node:crypto";
import { accessTokens } from "../../src/credentials/access-token.ts";
import { deviceTokens } from "../../src/credentials/device-token.ts";
import { openKeyRing, type PairAlgorithm } from "../../src/credentials/key-ring.ts";
import { derivedKey } from "../../src/credentials/secret.ts";
import { secretName } from "../../src/credentials/token-key.ts";
import {
  listKeys,
  maintainKeys,
  prepareKeys,
  publishedKeys,
  retireKey,
  rotateKeys,
} from "../../src/modules/keys/keys.ts";
import { findActor } from "../../src/modules/sessions/principal.ts";
import { SECRET, world } from "../support/world.ts";

const operator = { kind: "operator" } as const;

const MINUTE = 60_000;
const OTHER = "pQ8mZr3vTn6Kx1Ls9Yw4Hb7Jd2Fg5Ca0";
const pairAlgorithms: PairAlgorithm[] = ["EdDSA", "ES256"];
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const decode = (part = "") => JSON.parse(Buffer.from(part, "base64url").toString());
const statesOf = async (ctx: Parameters<typeof listKeys>[0]) =>
  (await listKeys(ctx)).map(({ state }) => state).sort();

describe.each(pairAlgorithms)("under %s", (algorithm) => {
  const digest = algorithm === "ES256" ? "sha256" : null;

  test("other services verify a token with the published keys alone", async () => {
    const { newUser, send } = await world({ algorithm });
    const { token } = await newUser();
    const [header, payload, signature] = token.split(".");
    const { keys } = (await send("GET", "/.well-known/jwks.json")).body;
    const { alg, kid, typ } = decode(header);
    expect([alg, typ, keys.length]).toEqual([algorithm, "at+jwt", 2]);
    const jwk = keys.find((key: { kid: string }) => key.kid === kid);
    expect(Object.keys(jwk)).not.toContain("d");
    const key = createPublicKey({ key: jwk, format: "jwk" } as JsonWebKeyInput);
    const isRight = verify(
      digest,
      Buffer.from(`${header}.${payload}`),
      { key, dsaEncoding: "ieee-p1363" },
      Buffer.from(signature ?? "", "base64url"),
    );
    expect(isRight).toBe(true);
  });

  test("rotation signs nobody out, and retiring a key invalidates its tokens", async () => {
    const { ctx, newUser, anonymous, send, pass, sql } = await world({ algorithm });
    const ada = await newUser();
    const before = (await send("GET", "/.well-known/jwks.json")).body.keys;
    await expect(rotateKeys(ctx, operator)).rejects.toMatchObject({ code: "next_key_too_new" });
    pass(10 * MINUTE);
    await rotateKeys(ctx, operator);
    const bob = await newUser("bob@example.com");
    const [old, young] = [ada, bob].map(({ token }) => decode(token.split(".")[0]).kid);
    expect(young).not.toBe(old);
    // The key that signs now was published before it signed.
    expect(before.map((key: { kid: string }) => key.kid)).toContain(young);
    expect(await statesOf(ctx)).toEqual(["current", "next", "retired"]);
    for (const one of [ada, bob]) expect((await one.get("/users/me")).status).toBe(200);
    expect(await sql`select data from events where type = 'key.rotated'`).toEqual([
      { data: { kid: young } },
    ] as never);
    expect(retireKey(ctx, operator, young)).rejects.toMatchObject({ code: "key_in_use" });
    await retireKey(ctx, operator, old);
    expect((await ada.get("/users/me")).status).toBe(401);
    expect((await bob.get("/users/me")).status).toBe(200);
    const again = await anonymous.post("/auth/refresh", { refresh_token: ada.refreshToken });
    expect(again.status).toBe(200);
  });

  test("a token signed by another key, or in another way by this one, gets 401", async () => {
    const { newUser, as, ctx } = await world({ algorithm });
    const ada = await newUser();
    const [header = "", payload = "", signature = ""] = ada.token.split(".");
    const { kid } = decode(header);
    const { privateKey, publicKey } =
      algorithm === "EdDSA"
        ? generateKeyPairSync("ed25519")
        : generateKeyPairSync("ec", { namedCurve: "P-256" });
    const input = `${header}.${payload}`;
    const mine = sign(digest, Buffer.from(input), { key: privateKey, dsaEncoding: "ieee-p1363" });
    const published = JSON.stringify((await listKeys(ctx))[0]?.publicJwk);
    const hmac = (secret: string, text: string) =>
      new Bun.CryptoHasher("sha256", secret).update(text).digest("base64url");
    const confused = `${encode({ alg: "HS256", kid, typ: "at+jwt" })}.${payload}`;
    const embedded = `${encode({ alg: algorithm, kid, typ: "at+jwt", jwk: publicKey.export({ format: "jwk" }) })}.${payload}`;
    const forged = {
      "another key": `${input}.${mine.toString("base64url")}`,
      "no signature": `${input}.`,
      "a signature of zeros": `${input}.${Buffer.alloc(64).toString("base64url")}`,
      "a short signature": `${input}.${signature.slice(0, 40)}`,
      "a padded signature": `${input}.${signature}==`,
      "a signature with other last bits": `${input}.${signature.slice(0, -1)}${signature.endsWith("A") ? "B" : "A"}`,
      "a DER signature": `${input}.${sign(digest, Buffer.from(input), privateKey).toString("base64url")}`,
      "HS256 with the public key": `${confused}.${hmac(published, confused)}`,
      "HS256 with an empty key": `${confused}.${hmac("", confused)}`,
      "a key in the header": `${embedded}.${sign(digest, Buffer.from(embedded), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`,
      "alg none": `${encode({ alg: "none", kid, typ: "at+jwt" })}.${payload}.`,
      "the other algorithm": `${encode({ alg: algorithm === "EdDSA" ? "ES256" : "EdDSA", kid, typ: "at+jwt" })}.${payload}.${signature}`,
      "no kid": `${encode({ alg: algorithm, typ: "at+jwt" })}.${payload}.${signature}`,
      "a kid that leads out": `${encode({ alg: algorithm, kid: "../../etc/passwd", typ: "at+jwt" })}.${payload}.${signature}`,
      "a kid of SQL": `${encode({ alg: algorithm, kid: "' or 1=1 --", typ: "at+jwt" })}.${payload}.${signature}`,
      "another payload": `${header}.${encode({ ...decode(payload), sub: crypto.randomUUID() })}.${signature}`,
    };
    for (const [kind, token] of Object.entries(forged)) {
      const answer = await as(token).get("/users/me");
      expect([kind, answer.status]).toEqual([kind, 401]);
      expect(answer.headers.get("www-authenticate")).toContain("Bearer");
    }
    expect((await ada.get("/users/me")).status).toBe(200);
  });
});

test("an HS256 token is accepted only if its secret is listed", async () => {
  const { ctx, newUser, as } = await world();
  const { token } = await newUser();
  expect(decode(token.split(".")[0])).toEqual({
    alg: "HS256",
    kid: secretName(SECRET),
    typ: "at+jwt",
  });
  const ring = async (first: string, ...others: string[]) => {
    const keyRing = openKeyRing({ algorithm: "HS256", secrets: [first, ...others] });
    await prepareKeys({ ...ctx, keyRing });
    return keyRing;
  };
  const header = token.split(".")[0] ?? "";
  expect((await ring(OTHER, SECRET)).find(header, ctx.now())).toBeDefined();
  expect((await ring(OTHER)).find(header, ctx.now())).toBeUndefined();
  expect((await ring(OTHER, SECRET)).signing().kid).toBe(secretName(OTHER));
  expect((await as(token).get("/users/me")).status).toBe(200);
  expect(rotateKeys(ctx, operator)).rejects.toMatchObject({ code: "not_found" });
  const { sign } = deviceTokens([derivedKey(SECRET, "device tokens")]);
  const device = sign(crypto.randomUUID(), new Date());
  const [first, second] = [derivedKey(OTHER, "device tokens"), derivedKey(SECRET, "device tokens")];
  expect(deviceTokens([first, second]).read(device)).toBeDefined();
  expect(deviceTokens([first]).read(device)).toBeUndefined();
});

test("a new SECRET_KEY encrypts the key pairs again, so the old one can be removed; without it, a new pair signs", async () => {
  const { ctx } = await world({ algorithm: "EdDSA" });
  const under = (first: string, ...others: string[]) => ({
    ...ctx,
    keyRing: openKeyRing({ algorithm: "EdDSA" as const, secrets: [first, ...others] }),
  });
  const kid = ctx.keyRing.signing().kid;
  const [stored] = await listKeys(ctx);
  expect(stored?.encryptedKey.includes(Buffer.from("302e020100300506032b6570", "hex"))).toBe(false);
  await prepareKeys(under(OTHER, SECRET));
  const alone = under(OTHER);
  await prepareKeys(alone);
  expect(alone.keyRing.signing().kid).toBe(kid);
  const lost = under("zX5cVb8nMa2sDf6gHj0kLq3wEr7tYu1i");
  await prepareKeys(lost);
  expect(lost.keyRing.signing().kid).not.toBe(kid);
  // What it signed can still be verified with its public part.
  expect((await listKeys(ctx)).find((key) => key.kid === kid)?.state).toBe("retired");
});

test("also if no key is current: the next current key is encrypted under the new secret", async () => {
  const { ctx, sql } = await world({ algorithm: "EdDSA" });
  await sql`delete from signing_keys where state = 'current'`;
  const keyRing = openKeyRing({ algorithm: "EdDSA", secrets: [OTHER, SECRET] });
  await prepareKeys({ ...ctx, keyRing });
  const alone = openKeyRing({ algorithm: "EdDSA", secrets: [OTHER] });
  expect((await listKeys(ctx)).map(alone.isOpen)).toEqual([true, true]);
});

test("an instance with another secret does not stop the others from signing users in", async () => {
  const { ctx, newUser, logged } = await world({ algorithm: "EdDSA" });
  const kid = ctx.keyRing.signing().kid;
  const otherInstance = { ...ctx, keyRing: openKeyRing({ algorithm: "EdDSA", secrets: [OTHER] }) };
  await prepareKeys(otherInstance);
  await maintainKeys(ctx);
  await maintainKeys(ctx);
  expect(logged.map(({ sentence }) => sentence)).toEqual([
    expect.stringContaining("another SECRET_KEY"),
  ]);
  expect(otherInstance.keyRing.signing().kid).not.toBe(kid);
  const ada = await newUser();
  expect(decode(ada.token.split(".")[0]).kid).toBe(kid);
  expect((await ada.get("/users/me")).status).toBe(200);
  expect(otherInstance.tokens.verify(ada.token, new Date())).toBeDefined();
});

test("a key that another instance has just begun to sign with is known here at once", async () => {
  const { ctx, newUser, send } = await world({ algorithm: "ES256" });
  const { token } = await newUser();
  const open = (algorithm: "HS256" | "ES256") => {
    const keyRing = openKeyRing({ algorithm, secrets: [SECRET] });
    const { publicUrl } = ctx.config;
    const tokens = accessTokens({
      ...{ keys: keyRing, issuer: publicUrl, audience: publicUrl },
      ...{ lifetimeSeconds: 900, remembered: 10 },
    });
    return { ...ctx, keyRing, tokens };
  };
  // They have not read the keys yet, as between two polls of the database.
  for (const other of [open("HS256"), open("ES256")]) {
    const found = await Promise.all([1, 2, 3].map(() => findActor(other, token)));
    expect(found.map((one) => one?.user.username)).toEqual(["ada", "ada", "ada"]);
    const [header = "", ...rest] = token.split(".");
    const nobodys = encode({ ...decode(header), kid: "A".repeat(22) });
    expect(await findActor(other, [nobodys, ...rest].join("."))).toBeUndefined();
  }
  expect((await send("GET", "/.well-known/jwks.json")).body.keys).toHaveLength(2);
});

test("with another secret, keys cannot be rotated or retired, and nothing changes", async () => {
  const { ctx } = await world({ algorithm: "EdDSA" });
  const before = await listKeys(ctx);
  const next = before.find(({ state }) => state === "next")?.kid ?? "";
  for (const algorithm of ["EdDSA", "HS256", "ES256"] as const) {
    const otherInstance = { ...ctx, keyRing: openKeyRing({ algorithm, secrets: [OTHER] }) };
    const refusal = { code: "other_secret_key" };
    await expect(retireKey(otherInstance, operator, next)).rejects.toMatchObject(refusal);
    if (algorithm === "HS256") continue;
    const rotating = rotateKeys(otherInstance, operator, { isUrgent: true });
    await expect(rotating).rejects.toMatchObject(refusal);
  }
  expect(await listKeys(ctx)).toEqual(before);
});

test("keys that an instance with other settings has taken over are taken back before signing stops", async () => {
  const { ctx, newUser } = await world({ algorithm: "EdDSA" });
  const kid = ctx.keyRing.signing().kid;
  await prepareKeys({ ...ctx, keyRing: openKeyRing({ algorithm: "EdDSA", secrets: [OTHER] }) });
  for (const hours of [0, 6, 11]) {
    setSystemTime(Date.now() + hours * 60 * MINUTE);
    await maintainKeys(ctx);
    if (hours < 12) setSystemTime(Date.now() - hours * 60 * MINUTE);
    expect(ctx.keyRing.signing().kid).toBe(kid);
  }
  setSystemTime(Date.now() + 13 * 60 * MINUTE);
  await maintainKeys(ctx);
  expect(ctx.keyRing.signing().kid).not.toBe(kid);
  setSystemTime(Date.now() + 26 * 60 * MINUTE);
  await maintainKeys(ctx);
  const ada = await newUser();
  expect((await ada.get("/users/me")).status).toBe(200);
  expect(await statesOf(ctx)).toEqual(["current", "next"]);
});

test("key pairs of an earlier algorithm verify until their tokens expire, then they are deleted", async () => {
  const { ctx, newUser, as } = await world({ algorithm: "ES256" });
  const { token } = await newUser();
  const keyRing = openKeyRing({ algorithm: "HS256", secrets: [SECRET] });
  const since = { ...ctx, keyRing };
  // The start does not wait for `prepareKeys`.
  expect(await publishedKeys(since)).toHaveLength(1);
  await prepareKeys(since);
  expect(await statesOf(ctx)).toEqual(["retired", "retired"]);
  await maintainKeys(ctx);
  expect((await as(token).get("/users/me")).status).toBe(200);
  setSystemTime(Date.now() + 26 * 60 * MINUTE);
  await maintainKeys(since);
  expect(keyRing.published(ctx.now())).toEqual([]);
  expect(await statesOf(ctx)).toEqual([]);
});

test("a damaged private key is no crash: another pair signs", async () => {
  const { ctx, sql } = await world({ algorithm: "ES256" });
  const kid = ctx.keyRing.signing().kid;
  await sql`update signing_keys set wrapped = ${"\\x00"}::bytea`;
  const again = {
    ...ctx,
    keyRing: openKeyRing({ algorithm: "ES256" as const, secrets: [SECRET] }),
  };
  await prepareKeys(again);
  expect(again.keyRing.signing().kid).not.toBe(kid);
});

test("instances that start or rotate concurrently leave one current key; retired keys go when no token can be valid", async () => {
  const { ctx } = await world({ algorithm: "ES256" });
  await Promise.all([1, 2, 3, 4].map(() => prepareKeys(ctx)));
  expect(await statesOf(ctx)).toEqual(["current", "next"]);
  setSystemTime(Date.now() + 10 * MINUTE);
  const rotations = await Promise.allSettled([1, 2, 3].map(() => rotateKeys(ctx, operator)));
  expect(rotations.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  // One has leaked: services that verify tokens get no time to fetch the next one.
  await Promise.all([1, 2].map(() => rotateKeys(ctx, operator, { isUrgent: true })));
  expect(await statesOf(ctx)).toEqual(["current", "next", "retired", "retired", "retired"]);
  setSystemTime(Date.now() + 24 * 3_600_000);
  await maintainKeys(ctx);
  expect((await statesOf(ctx)).length).toBe(5);
  setSystemTime(Date.now() + 2 * 3_600_000);
  await maintainKeys(ctx);
  expect(await statesOf(ctx)).toEqual(["current", "next"]);
});
