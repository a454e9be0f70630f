import { expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { secretName } from "../../src/kit/token-key.ts";
import { SECRET, world } from "../support/world.ts";

const encode = (value: unknown) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
const HEADER = { alg: "HS256", kid: secretName(SECRET), typ: "at+jwt" };
const sign = (header: unknown, claims: unknown, { key = SECRET, hash = "sha256" } = {}) => {
  const input = `${encode(header)}.${encode(claims)}`;
  return `${input}.${createHmac(hash, key).update(input).digest("base64url")}`;
};

test("an access token says what RFC 9068 asks for, and no more", async () => {
  const { person } = await world();
  const ada = await person();
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
  expect(Math.abs(claims.iat - now)).toBeLessThan(3);
});

test("a forged, odd or broken token gets 401 and a challenge, never 500", async () => {
  const { person, send } = await world();
  const ada = await person();
  const bob = await person("bob@example.com");
  const other = JSON.parse(Buffer.from(bob.token.split(".")[1] ?? "", "base64url").toString());
  const [header = "", payload = "", signature = ""] = ada.token.split(".");
  const good = JSON.parse(Buffer.from(payload, "base64url").toString());
  const { iss, aud, sub, jti, iat, exp, client_id, auth_time, sid, ...none } = good;
  expect(none).toEqual({});
  const seconds = Math.floor(Date.now() / 1000);
  const flipped = `${signature.slice(0, -1)}${signature.endsWith("A") ? "B" : "A"}`;
  const forged: Record<string, string> = {
    "alg none": `${encode({ alg: "none" })}.${payload}.`,
    "alg none, with our type": `${encode({ ...HEADER, alg: "none" })}.${payload}.`,
    "alg NoNe": `${encode({ ...HEADER, alg: "NoNe" })}.${payload}.${signature}`,
    HS384: sign({ ...HEADER, alg: "HS384" }, good, { hash: "sha384" }),
    HS512: sign({ ...HEADER, alg: "HS512" }, good, { hash: "sha512" }),
    "HS256 that says RS256": sign({ ...HEADER, alg: "RS256" }, good),
    "another key": sign(HEADER, good, { key: "another key that is long enough!" }),
    "an empty key": sign(HEADER, good, { key: "" }),
    "type JWT": sign({ ...HEADER, typ: "JWT" }, good),
    "no type": sign({ alg: "HS256" }, good),
    "a kid": sign({ ...HEADER, kid: "../../dev/null" }, good),
    "a jku": sign({ ...HEADER, jku: "https://example.com/jwks.json" }, good),
    "a jwk": sign({ ...HEADER, jwk: { kty: "oct", k: "" } }, good),
    crit: sign({ ...HEADER, crit: ["b64"], b64: false }, good),
    "the header's members in another order": sign({ typ: "at+jwt", alg: "HS256" }, good),
    "no session": sign(HEADER, { ...good, sid: undefined }),
    "a session that never was": sign(HEADER, { ...good, sid: crypto.randomUUID() }),
    "somebody else's session": sign(HEADER, { ...good, sid: other.sid }),
    "a session that is no id": sign(HEADER, { ...good, sid: "../../1" }),
    "a refresh token": ada.refreshToken,
    "no issuer": sign(HEADER, { ...good, iss: undefined }),
    "another issuer": sign(HEADER, { ...good, iss: "https://example.com" }),
    "no audience": sign(HEADER, { ...good, aud: undefined }),
    "another audience": sign(HEADER, { ...good, aud: "https://example.com" }),
    "a list of audiences": sign(HEADER, { ...good, aud: [good.aud] }),
    "no subject": sign(HEADER, { ...good, sub: undefined }),
    "a subject that is no id": sign(HEADER, { ...good, sub: "' or 1=1" }),
    "a subject that nobody is": sign(HEADER, {
      ...good,
      sub: "019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f70",
    }),
    "a subject that is a number": sign(HEADER, { ...good, sub: 7 }),
    "no jti": sign(HEADER, { ...good, jti: undefined }),
    "no iat": sign(HEADER, { ...good, iat: undefined }),
    "issued in two minutes": sign(HEADER, { ...good, iat: seconds + 120 }),
    "no exp": sign(HEADER, { ...good, exp: undefined }),
    "exp null": sign(HEADER, { ...good, exp: null }),
    "exp as text": sign(HEADER, { ...good, exp: String(good.exp) }),
    "expired a second ago": sign(HEADER, { ...good, exp: seconds - 1 }),
    "claims that are a list": sign(HEADER, []),
    "claims that are null": sign(HEADER, null),
    "claims that are no JSON": sign(HEADER, "{"),
    "two parts": `${header}.${payload}`,
    "four parts": `${ada.token}.x`,
    "five parts": `${ada.token}.x.y`,
    "no signature": `${header}.${payload}.`,
    "a changed signature": `${header}.${payload}.${flipped}`,
    "a padded signature": `${ada.token}=`,
    "a signature with its unused bits set": `${header}.${payload}.${looseEnd(signature)}`,
    "a payload in base64 with padding": `${header}.${payload}==.${signature}`,
    "a space behind": `${ada.token} x`,
    "nothing but dots": "..",
    huge: `${header}.${"A".repeat(5000)}.${signature}`,
    "letters beyond ASCII": `${header}.${payload}.é`,
  };
  expect(
    (
      await send("GET", "/api/v1/users/me", {
        headers: { authorization: `Bearer ${sign(HEADER, good)}` },
      })
    ).status,
  ).toBe(200);
  for (const [what, token] of Object.entries(forged)) {
    const answer = await send("GET", "/api/v1/users/me", {
      headers: { authorization: `Bearer ${token}` },
    });
    expect([what, answer.status, answer.body.code]).toEqual([what, 401, "invalid_token"]);
    expect(answer.headers.get("www-authenticate")).toBe(
      'Bearer realm="bunker", error="invalid_token"',
    );
  }
});

/** Another spelling of the same bytes: the last letter of 32 bytes in base64url has two bits to spare. */
function looseEnd(signature: string): string {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const last = letters.indexOf(signature.at(-1) ?? "");
  return `${signature.slice(0, -1)}${letters[last + 1]}`;
}

test("no credentials get a challenge without an error", async () => {
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
  const { person, send } = await world();
  const { token } = await person();
  for (const scheme of ["bearer", "BEARER", "Bearer"]) {
    const answer = await send("GET", "/api/v1/users/me", {
      headers: { authorization: `${scheme} ${token}` },
    });
    expect(answer.status).toBe(200);
  }
});
