import { describe, expect, test } from "bun:test";
import { usualCost } from "../src/credentials/password.ts";
import { isOutdated, readStoredHash } from "../src/credentials/stored-hash.ts";
import { logIn } from "../src/modules/auth/auth.ts";
import { createUser } from "../src/modules/users/users.ts";
import { PASSWORD, world } from "./support/world.ts";

/**
 * Made by passlib 1.7, Django 3.2, bcrypt 3.2, argon2-cffi 21.1 and Python's hashlib, of
 * `PASSWORD`.
 */
const known = {
  "PHC pbkdf2-sha256":
    "$pbkdf2-sha256$1000$YQyBkFKKkfLeOwfgvNfa.w$mUU21s6OOgNGxu6CxCfgp5Hx7UaL6BDIP1pRfKBsnl8",
  "PHC pbkdf2-sha256, named":
    "$pbkdf2-sha256$i=1000,l=32$YQyBkFKKkfLeOwfgvNfa+w$mUU21s6OOgNGxu6CxCfgp5Hx7UaL6BDIP1pRfKBsnl8",
  "PHC pbkdf2-sha512":
    "$pbkdf2-sha512$1000$mPN.L6V07t17j9Faq5XSWg$Qq9wtUSb4/TufA8tXqAg2/YbZ2ymxaMbNAvvdhQPkOTjkgXKuDZY1HrfWgtf.xfij5fIuTe08YPXMvcwP7d5iQ",
  "PHC pbkdf2": "$pbkdf2$1000$Vepda601BuB8LyUEoLR2Dg$0gwaqJ5Ml5zJrU6XnZoDgkjVcGI",
  "PHC scrypt":
    "$scrypt$ln=10,r=8,p=1$uDeGkDKGsJYy5rw3RgihNA$Ts2nCdipGfu8ZMu1QNqVPvg4dox/EvpiJrOCjI1QstY",
  "bcrypt 2b": "$2b$05$1LcEEPi7UZqljR7ZMf61SO74ixb/p4qNJhAE6l.JtNiEBLURge87C",
  "bcrypt 2a": "$2a$05$5pLqViExPuXHX2WWU/sftu50Aj4Mbbn9gLspdM83kNscdeck4yHCu",
  "bcrypt 2y": "$2y$05$O8lWy.kr3fYtYJxfyZa9xu7qE1zXArVVuwJZaOuCnOOc9BbPOrHH2",
  "Django pbkdf2_sha256":
    "pbkdf2_sha256$1000$63YOFoZ4veziACQAk26xKW$/73uyiUXLWAvveWj/kAmtb180G2yKJkt6meosOhMRho=",
  "Django pbkdf2_sha1": "pbkdf2_sha1$1000$0VQqX3r2djN2kTdQkoflxP$JC6PVYlcV/vpRofix8UzUGACHzk=",
  "Django argon2":
    "argon2$argon2id$v=19$m=102400,t=2,p=8$ZzR5ZlBWYm5UeDM2bGZWQTZvcU9ySw$Hy1Cyg1wTa4j6la/A+TwTw",
  "Django bcrypt_sha256":
    "bcrypt_sha256$$2b$05$kwDL6vuBolK/PWhxOiE8o.LXFTnPnREBiiKGCmI/IMjBHc2h021dC",
  "Django bcrypt": "bcrypt$$2b$05$Swhg4u0JY6.jZvt5Vjcb3eHoOokKBwWw4aAkMmQXl0UbjjgPWhN7K",
  "Django scrypt":
    "scrypt$1024$seasalt$8$1$QMBRDuNq7pljC9V+clmpGo+/U//V5nQlsLBnaDD9vK5WG80UWev7M6KyTAM0hUJc1RssTgKy001SIjbeho4/iQ==",
  argon2i: "$argon2i$v=19$m=1024,t=2,p=2$sqSy4Nsth5zSEYmr5VfUrQ$GkdMjPwA7EK46YqS9Y4U/g",
  argon2d: "$argon2d$v=19$m=1024,t=2,p=2$rXEW7v/YzRVQoq9u/aUjAw$Ie1lOgZqfLuckHxZdhbt5g",
  argon2id: "$argon2id$v=19$m=1024,t=2,p=2$5KpocFNqKAz/nu1WW2f1XQ$Pzwhblvsva+ZbHo8NH3KYA",
};

const checkOf = (hash: string) => {
  const check = readStoredHash(hash);
  return typeof check === "string" ? async () => check : check;
};

describe("a hash from another system", () => {
  test.each(Object.entries(known))("is verified: %s", async (_, hash) => {
    const check = checkOf(hash);
    expect(await check(Buffer.from(PASSWORD))).toBe(true);
    expect(await check(Buffer.from(`${PASSWORD}.`))).toBe(false);
    expect(await check(Buffer.from(""))).toBe(false);
  });

  test("of bcrypt reads 72 bytes of a long password, as in other implementations", async () => {
    const check = checkOf("$2b$05$7wokuMMaMdLthBXEPl3P6es3FEeA6nD2uPnnEuNd4FK/JotKFhb6e");
    expect(await check(Buffer.from(`${"p".repeat(80)}é`))).toBe(true);
    expect(await check(Buffer.from("p".repeat(71)))).toBe(false);
  });

  test("that costs too much, or is malformed, is refused", () => {
    const [argon2, bcrypt] = [known.argon2id, known["bcrypt 2b"]];
    const refused = [
      argon2.replace("m=1024", "m=1048576"),
      argon2.replace("t=2", "t=9999"),
      argon2.replace("p=2", "p=99"),
      argon2.replace("v=19", "v=16"),
      argon2.slice(0, -8),
      bcrypt.replace("$05$", "$31$"),
      bcrypt.replace("$2b$", "$2x$"),
      bcrypt.slice(0, -1),
      // Other spellings of the same bytes, for which Bun throws.
      `${bcrypt.slice(0, -1)}${bcrypt.at(-1) === "a" ? "b" : "a"}`.replace(/a$/, "b"),
      `${bcrypt.slice(0, 28)}A${bcrypt.slice(29)}`,
      "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdHNhb$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
      "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2i",
      `pbkdf2_sha1$2000000$salt$${Buffer.alloc(360).toString("base64")}`,
      known["PHC scrypt"].replace("ln=10", "ln=20"),
      known["PHC scrypt"].replace("r=8", "r=9999"),
      known["PHC scrypt"].replace("p=1", "p=999"),
      known["Django scrypt"].replace("1024", "1023"),
      known["Django pbkdf2_sha256"].replace("1000", "99999999"),
      known["PHC pbkdf2"].replace("$1000$", "$0$"),
      "pbkdf2_sha256$1000$salt$c2hvcnQ=",
      "pbkdf2_md5$1000$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=",
      "",
      "plain text",
      "$1$abc$def",
      `$argon2id$${"A".repeat(600)}`,
    ];
    expect(refused.filter((hash) => typeof readStoredHash(hash) === "function")).toEqual([]);
  });

  test("is outdated if an attacker pays less for it than for ours", () => {
    const cost = { kibibytes: 19_456, passes: 2 };
    expect(Object.values(known).filter((hash) => !isOutdated(hash, cost))).toEqual([]);
    const ours = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNo";
    expect(isOutdated(ours, cost)).toBe(false);
    expect(isOutdated(ours, { ...cost, passes: 3 })).toBe(true);
  });
});

test("is upgraded to the current cost at a sign-in, and signs in again", async () => {
  const { ctx, sql, anonymous } = await world({ passwordHash: usualCost });
  const operator = { kind: "operator" } as const;
  const hash = known["Django pbkdf2_sha256"];
  await createUser(ctx, operator, { email: "ada@example.com", password: { hash } });
  const stored = async () =>
    String((await sql<{ hash: string }[]>`select password_hash as hash from users`)[0]?.hash);
  const logInAs = (password: string) =>
    anonymous.post("/auth/login", { username: "ada", password });
  expect((await logInAs("something else")).status).toBe(401);
  expect(await stored()).toBe(hash);
  expect((await logInAs(PASSWORD)).status).toBe(200);
  expect(await stored()).toStartWith("$argon2id$v=19$m=19456,t=2,p=1$");
  const before = await stored();
  expect((await logInAs(PASSWORD)).status).toBe(200);
  expect(await stored()).toBe(before);
  // The parameters increase.
  const dearer = { ...ctx, hashing: { ...ctx.hashing, cost: { kibibytes: 20_480, passes: 3 } } };
  await logIn(dearer, { kind: "anonymous" }, { username: "ada", password: PASSWORD });
  expect(await stored()).toStartWith("$argon2id$v=19$m=20480,t=3,p=1$");
  expect((await logInAs(PASSWORD)).status).toBe(200);
  expect(
    createUser(ctx, operator, { email: "bob@example.com", password: { hash: "$1$abc$def" } }),
  ).rejects.toMatchObject({ code: "invalid_request" });
});
