import { expect, setSystemTime, test } from "bun:test";
import { createHmac } from "node:crypto";
import { secretName } from "../../src/credentials/token-key.ts";
import { SECRET, world } from "../support/world.ts";

const encode = (value: unknown) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
const HEADER = { alg: "HS256", kid: secretName(SECRET), typ: "at+jwt" };
const sign = (header: unknown, claims: unknown, { key = SECRET, hash = "sha256" } = {}) => {
  const input = `${encode(header)}.${encode(claims)}`;
  return `${input}.${createHmac(hash, key).update(input).digest("base64url")}`;
};

test("an access token has exactly the claims of RFC 9068", async () => {
  setSystemTime(new Date());
  const { newUser } = await world();
  const ada = await newUser();
  const [header, payload] = ada.token
    .split(".")
    .map((part) => Buffer.from(part, "base64url").toString());
  const now = Math.floor(Date.now() / 1000);
  const claims = JSON.parse(payload ?? "");
  expect(JSON.parse(header ?? "")).toEqual(HEADER);
  expect(claims).toEqual({
    iss: "http://localhost:3000",
    aud: "http://localhost:3000",
    sub: ada.id,
    client_id: "bunker",
    jti: expect.any(String),
    iat: expect.any(Number),
    exp: claims.iat + 900,
    auth_time: claims.iat,
    sid: expect.any(String),
  });
  expect(claims.iat).toBe(now);
});

test("a forged, odd or broken token gets 401 and a challenge, never 500", async () => {
  const { ctx, newUser, send } = await world();
  const ada = await newUser();
  const bob = await newUser("bob@example.com");
  const forged = forgeries({
    ada,
    bob,
    clientToken: await ctx.tokens.signForClient(crypto.randomUUID(), new Date()),
  });
  expect(Object.keys(forged).length).toBeGreaterThanOrEqual(60);
  const me = (token: string) =>
    send("GET", "/api/v1/users/me", { headers: { authorization: `Bearer ${token}` } });
  // The tokens that the forgeries are made from are valid, and so is our own signature under the
  // header.
  expect((await me(ada.token)).status).toBe(200);
  expect((await me(sign(HEADER, claimsOf(ada.token)))).status).toBe(200);
  for (const [what, token] of Object.entries(forged)) {
    const answer = await me(token);
    expect([what, answer.status, answer.body.code]).toEqual([what, 401, "invalid_token"]);
    expect(answer.headers.get("www-authenticate")).toBe(
      'Bearer realm="bunker", error="invalid_token"',
    );
  }
});

const claimsOf = (token: string) =>
  JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());

interface Person {
  token: string;
  refreshToken: string;
}

function forgeries({
  ada,
  bob,
  clientToken,
}: {
  ada: Person;
  bob: Person;
  clientToken: string;
}): Record<string, string> {
  const good = claimsOf(ada.token);
  return {
    ...inTheHeader(ada.token, good),
    ...inTheClaims(good, claimsOf(bob.token)),
    ...inTheSpelling(ada.token, bob.token),
    "a refresh token": ada.refreshToken,
    "a client's own token": clientToken,
  };
}

/** Signed with our key, unless the key is the point; never under our header. */
function inTheHeader(token: string, good: object): Record<string, string> {
  const [, payload = "", signature = ""] = token.split(".");
  const unsigned = (header: object) => `${encode(header)}.${payload}.`;
  const kids = {
    "that leads to an empty file": "../../dev/null",
    "that leads out of the folder": "../../../etc/passwd",
    "of SQL": "' union select 'key' --",
    "of a shell": "$(id)|/bin/sh",
    "of a URL": "https://example.com/key.pem",
    "with a NUL": "\0",
    "of an unknown secret": secretName("another key that is long enough!"),
    "that is empty": "",
    "that is null": null,
    "that is a number": 7,
    "that is a list": [HEADER.kid],
    "of a property that every object has": "__proto__",
  };
  return {
    ...Object.fromEntries(
      ["none", "None", "NONE", "nOnE", "", "none "].flatMap((alg) => [
        [`alg "${alg}", unsigned`, unsigned({ ...HEADER, alg })],
        [`alg "${alg}", signed`, sign({ ...HEADER, alg }, good)],
      ]),
    ),
    ...Object.fromEntries(
      Object.entries(kids).map(([kind, kid]) => [`a kid ${kind}`, sign({ ...HEADER, kid }, good)]),
    ),
    "alg none and nothing else": unsigned({ alg: "none" }),
    "alg none with a signature": `${encode({ ...HEADER, alg: "none" })}.${payload}.${signature}`,
    "no alg": sign({ kid: HEADER.kid, typ: HEADER.typ }, good),
    "alg null": sign({ ...HEADER, alg: null }, good),
    "alg in lower case": sign({ ...HEADER, alg: "hs256" }, good),
    HS384: sign({ ...HEADER, alg: "HS384" }, good, { hash: "sha384" }),
    HS512: sign({ ...HEADER, alg: "HS512" }, good, { hash: "sha512" }),
    "HS256 that says RS256": sign({ ...HEADER, alg: "RS256" }, good),
    "HS256 that says EdDSA": sign({ ...HEADER, alg: "EdDSA" }, good),
    "HS256 that says ES256": sign({ ...HEADER, alg: "ES256" }, good),
    "another key": sign(HEADER, good, { key: "another key that is long enough!" }),
    "the key's name as the key": sign(HEADER, good, { key: HEADER.kid }),
    "an empty key": sign(HEADER, good, { key: "" }),
    "type JWT": sign({ ...HEADER, typ: "JWT" }, good),
    "type application/at+jwt": sign({ ...HEADER, typ: "application/at+jwt" }, good),
    "type logout+jwt": sign({ ...HEADER, typ: "logout+jwt" }, good),
    "no type": sign({ alg: "HS256", kid: HEADER.kid }, good),
    "no kid": sign({ alg: "HS256", typ: HEADER.typ }, good),
    "a jku": sign({ ...HEADER, jku: "https://example.com/jwks.json" }, good),
    "a jwk": sign({ ...HEADER, jwk: { kty: "oct", k: "" } }, good),
    "an x5u": sign({ ...HEADER, x5u: "https://example.com/cert.pem" }, good),
    "an x5c": sign({ ...HEADER, x5c: ["MIIB"] }, good),
    crit: sign({ ...HEADER, crit: ["b64"], b64: false }, good),
    "crit of nothing": sign({ ...HEADER, crit: [] }, good),
    "b64 without crit": sign({ ...HEADER, b64: false }, good),
    zip: sign({ ...HEADER, zip: "DEF" }, good),
    "a header in another order": sign({ typ: HEADER.typ, alg: "HS256", kid: HEADER.kid }, good),
    "a header with blanks": sign(JSON.stringify(HEADER, null, 1), good),
    "a header that says alg twice": sign(
      JSON.stringify(HEADER).replace("{", '{"alg":"none",'),
      good,
    ),
    "a header with an escape": sign(JSON.stringify(HEADER).replace("alg", "\\u0061lg"), good),
    "a header that is no object": sign("HS256", good),
    "a header that is no JSON": sign("{", good),
  };
}

/** Signed like ours: only the claims are wrong. */
function inTheClaims(good: Record<string, unknown>, other: typeof good): Record<string, string> {
  const seconds = Math.floor(Date.now() / 1000);
  const changes: Record<string, object> = {
    "no session": { sid: undefined },
    "a session that never was": { sid: crypto.randomUUID() },
    "another user's session": { sid: other["sid"] },
    "a session that is no id": { sid: "../../1" },
    "a session that is a list": { sid: [good["sid"]] },
    "no issuer": { iss: undefined },
    "another issuer": { iss: "https://example.com" },
    "an issuer with a slash more": { iss: `${good["iss"]}/` },
    "no audience": { aud: undefined },
    "another audience": { aud: "https://example.com" },
    "a list of audiences": { aud: [good["aud"]] },
    "no subject": { sub: undefined },
    "a subject that is no id": { sub: "' or 1=1" },
    "an unknown subject": { sub: "019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f70" },
    "another user as the subject": { sub: other["sub"] },
    "a subject that is a number": { sub: 7 },
    "no client": { client_id: undefined },
    "no jti": { jti: undefined },
    "an empty jti": { jti: "" },
    "no auth_time": { auth_time: undefined },
    "auth_time as text": { auth_time: "0" },
    "no iat": { iat: undefined },
    "issued in two minutes": { iat: seconds + 120 },
    "iat as text": { iat: String(good["iat"]) },
    "not valid before tomorrow": { nbf: seconds + 86_400 },
    "not valid before some text": { nbf: "yesterday" },
    "no exp": { exp: undefined },
    "exp null": { exp: null },
    "exp true": { exp: true },
    "exp as text": { exp: String(good["exp"]) },
    "exp negative": { exp: -1 },
    "exp now": { exp: seconds },
    "expired a second ago": { exp: seconds - 1 },
  };
  const forever = JSON.stringify(good).replace(/"exp":\d+/, '"exp":1e999');
  return {
    ...Object.fromEntries(
      Object.entries(changes).map(([what, change]) => [what, sign(HEADER, { ...good, ...change })]),
    ),
    "an exp without end": sign(HEADER, forever),
    "claims that are a list": sign(HEADER, []),
    "claims that are null": sign(HEADER, null),
    "claims that are text": sign(HEADER, '"claims"'),
    "claims that are no JSON": sign(HEADER, "{"),
    "no claims": sign(HEADER, ""),
  };
}

/** A valid token with one character more, fewer or different. */
function inTheSpelling(token: string, others: string): Record<string, string> {
  const [header = "", payload = "", signature = ""] = token.split(".");
  const [, otherPayload = "", otherSignature = ""] = others.split(".");
  const flipped = `${signature.slice(0, -1)}${signature.endsWith("A") ? "B" : "A"}`;
  const flattened = JSON.stringify({ protected: header, payload, signature });
  return {
    "two parts": `${header}.${payload}`,
    "four parts": `${token}.x`,
    "five parts": `${token}.x.y`,
    "no signature": `${header}.${payload}.`,
    "no payload": `${header}..${signature}`,
    "no header": `.${payload}.${signature}`,
    "nothing but dots": "..",
    "a changed signature": `${header}.${payload}.${flipped}`,
    "half a signature": `${header}.${payload}.${signature.slice(0, 20)}`,
    "a padded signature": `${token}=`,
    "a signature with its unused bits set": `${header}.${payload}.${looseEnd(signature)}`,
    "a signature in hexadecimal": `${header}.${payload}.${Buffer.from(signature, "base64url").toString("hex")}`,
    "another token's signature": `${header}.${payload}.${otherSignature}`,
    "another token's payload": `${header}.${otherPayload}.${signature}`,
    "a payload in base64 with padding": `${header}.${payload}==.${signature}`,
    "a payload with a percent sign": `${header}.${payload}%0a.${signature}`,
    "all of it in one JSON text": flattened,
    "a space behind": `${token} x`,
    huge: `${header}.${"A".repeat(5000)}.${signature}`,
    "non-ASCII letters": `${header}.${payload}.é`,
  };
}

/**
 * Another spelling of the same bytes: the last character of 32 bytes in base64url has two spare
 * bits.
 */
function looseEnd(signature: string): string {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const last = letters.indexOf(signature.at(-1) ?? "");
  return `${signature.slice(0, -1)}${letters[last + 1]}`;
}

test("a token expires to the second, also if its principal is cached", async () => {
  const { newUser, pass } = await world();
  const ada = await newUser();
  const { iat, exp } = claimsOf(ada.token);
  const until = (seconds: number) => pass(seconds * 1000 - Date.now());
  for (const [seconds, status] of [
    [iat, 200],
    [exp - 1, 200],
    [exp, 401],
    [exp - 1, 200],
    [exp + 1, 401],
  ]) {
    until(seconds ?? 0);
    expect([seconds, (await ada.get("/users/me")).status]).toEqual([seconds, status]);
  }
});

test("a request without credentials gets a challenge without an error", async () => {
  const { send } = await world();
  for (const authorization of ["", "Basic YTpi", "Bearer", "Bearer ", "Token x"]) {
    const answer = await send("GET", "/api/v1/users/me", { headers: { authorization } });
    expect([authorization, answer.status, answer.body.code]).toEqual([
      authorization,
      401,
      "not_signed_in",
    ]);
    expect(answer.headers.get("www-authenticate")).toBe('Bearer realm="bunker"');
  }
});

test("the scheme is read in any case", async () => {
  const { newUser, send } = await world();
  const { token } = await newUser();
  for (const scheme of ["bearer", "BEARER", "Bearer"]) {
    const answer = await send("GET", "/api/v1/users/me", {
      headers: { authorization: `${scheme} ${token}` },
    });
    expect(answer.status).toBe(200);
  }
});

test("where a token is optional, an invalid one is refused before the body is validated", async () => {
  const { as, anonymous } = await world();
  const verify = (caller: ReturnType<typeof as>) => caller.post("/auth/email/verify", { tokn: 1 });
  expect((await verify(as("made-up"))).body.code).toBe("invalid_token");
  expect((await verify(anonymous)).body.code).toBe("invalid_request");
});
