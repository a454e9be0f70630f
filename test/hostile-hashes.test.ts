/** Stored hashes that cost too much at a sign-in, or that the primitive refuses. */
import { expect, test } from "bun:test";
import { openHashing } from "../src/credentials/hashing.ts";
import { verifyPassword } from "../src/credentials/password.ts";
import { createUser } from "../src/modules/users/users.ts";
import { PASSWORD, world } from "./support/world.ts";

const operator = { kind: "operator" } as const;
const text = (length: number, fill = 7) =>
  Buffer.alloc(length, fill).toString("base64").replace(/=+$/, "");
const argon2 = (parameters: string) => `$argon2id$v=19$${parameters}$${text(16)}$${text(32)}`;
const scrypt = (ln: number, r: number, p: number) =>
  `$scrypt$ln=${ln},r=${r},p=${p}$${text(16)}$${text(32)}`;
const bcrypt = (cost: number) =>
  `$2b$${String(cost).padStart(2, "0")}$1LcEEPi7UZqljR7ZMf61SO74ixb/p4qNJhAE6l.JtNiEBLURge87C`;

const hostile: [hash: string, parameter: string][] = [
  [argon2("m=128,t=9999,p=16"), "m × t × p"],
  [argon2("m=262144,t=8,p=1"), "argon2 m "],
  [argon2("m=65536,t=17,p=1"), "m × t × p"],
  [argon2("m=65536,t=9,p=2"), "m × t × p"],
  // Threads that start and end: 13 seconds on a small server.
  [argon2("m=24,t=9999,p=3"), "t × p"],
  [argon2("m=2048,t=1,p=17"), "argon2 p"],
  [scrypt(16, 1, 1), "2^(16r)"],
  [scrypt(17, 1, 1), "2^(16r)"],
  [scrypt(32, 2, 1), "2^(16r)"],
  [scrypt(15, 8, 17), "N × r × p"],
  [scrypt(18, 8, 1), "128 × N × r"],
  // Much memory for the lanes alone.
  [scrypt(1, 999, 999), "r × p"],
  [`scrypt$65536$salt$1$1$${text(64)}`, "2^(16r)"],
  [`scrypt$33554432$salt$8$1$${text(64)}`, "N × r × p"],
  [bcrypt(15), "bcrypt cost"],
  [`bcrypt_sha256$${bcrypt(31)}`, "bcrypt cost"],
  [`pbkdf2_sha256$2000001$salt$${text(32)}`, "iterations × blocks"],
  [`pbkdf2_sha1$1000000$salt$${text(64)}`, "iterations × blocks"],
  [`$pbkdf2-sha512$1000001$${text(16)}$${text(128)}`, "iterations × blocks"],
];

test("a hash beyond the bounds is refused on import, and the message names the parameter", async () => {
  const { ctx } = await world();
  for (const [hash, parameter] of hostile) {
    const refusal = await createUser(ctx, operator, {
      email: "ada@example.com",
      password: { hash },
    }).catch((error) => error);
    expect([hash, refusal.code, refusal.errors?.[0]?.pointer]).toEqual([
      hash,
      "invalid_request",
      "/password",
    ]);
    expect(refusal.errors[0].detail).toContain(parameter);
    expect(refusal.errors[0].detail).not.toContain(text(16));
  }
});

test("the defaults of other systems are within the bounds", async () => {
  const { ctx } = await world();
  const accepted = [
    argon2("m=102400,t=2,p=8"),
    argon2("m=65536,t=3,p=4"),
    argon2("m=65536,t=16,p=1"),
    argon2("m=131072,t=3,p=1"),
    scrypt(17, 8, 1),
    scrypt(14, 8, 5),
    scrypt(15, 1, 1),
    bcrypt(14),
    `pbkdf2_sha256$1000000$salt$${text(32)}`,
    `$pbkdf2-sha512$210000$${text(16)}$${text(64)}`,
  ];
  for (const [at, hash] of accepted.entries())
    await createUser(ctx, operator, { email: `ada${at}@example.com`, password: { hash } });
});

const planted = [
  ...hostile.map(([hash]) => hash),
  "",
  "plain text",
  "$argon2id$",
  argon2("m=64,t=0,p=1"),
  argon2("m=64,t=1,p=0"),
  argon2("m=7,t=1,p=1"),
  `$argon2id$v=19$m=64,t=1,p=1$${text(4)}$${text(32)}`,
  `$argon2id$v=19$m=64,t=1,p=1$${text(16)}$${text(4)}`,
  scrypt(0, 8, 1),
  scrypt(10, 0, 1),
  scrypt(10, 8, 0),
  scrypt(10, 8, 1).slice(0, -38),
  `scrypt$1023$salt$8$1$${text(64)}`,
  bcrypt(3),
  bcrypt(10).slice(0, -1),
  `pbkdf2_sha256$0$salt$${text(32)}`,
];

test("a stored hash that cannot be verified is a wrong password and an error in the log", async () => {
  const { ctx, sql, newUser, anonymous, logged } = await world({ rateLimit: "off" });
  const ada = await newUser();
  for (const hash of planted) {
    await sql`update users set password_hash = ${hash}`;
    ctx.principals.forgetAll();
    logged.length = 0;
    const answers = [
      await anonymous.post("/auth/login", { username: "ada", password: PASSWORD }),
      await ada.put("/users/me/password", {
        current_password: PASSWORD,
        new_password: `${PASSWORD}!`,
      }),
    ];
    expect([hash, ...answers.map(({ body }) => body.code)]).toEqual([
      hash,
      "invalid_credentials",
      "invalid_credentials",
    ]);
    const fault = {
      fields: { user_id: ada.id, reason: expect.any(String) },
      sentence: "Password hash cannot be verified.",
    };
    expect([hash, ...logged]).toEqual([hash, fault, fault]);
    if (hash !== "") expect(JSON.stringify(logged)).not.toContain(JSON.stringify(hash));
  }
  await sql`update users set password_hash = '!'`;
  logged.length = 0;
  const answer = await anonymous.post("/auth/login", { username: "ada", password: PASSWORD });
  expect([answer.body.code, logged]).toEqual(["invalid_credentials", []]);
});

/** The same sequence in each run. */
function* numbers(seed: number): Generator<number> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

test("verifying a stored hash never throws, whatever the hash is", async () => {
  const random = numbers(17);
  const pick = <T>(values: readonly T[]): T =>
    values[Math.floor((random.next().value as number) * values.length)] as T;
  const number = () =>
    pick([
      "0",
      "1",
      "2",
      "3",
      "8",
      "16",
      "64",
      "0016",
      "255",
      "999",
      "4294967295",
      "-1",
      "1e3",
      "",
    ]);
  const blob = () =>
    pick([
      "",
      "=",
      "AAAA",
      text(8),
      text(15),
      text(16),
      text(23),
      text(32),
      text(64),
      text(200),
      `${text(32)}=`,
      "....",
      "é",
      "$",
    ]);
  const kinds = [
    () =>
      `$argon2${pick(["id", "i", "d", ""])}$v=${pick([19, 16])}$m=${number()},t=${number()},p=${number()}$${blob()}$${blob()}`,
    () => `argon2$argon2id$v=19$m=${number()},t=${number()},p=${number()}$${blob()}$${blob()}`,
    () =>
      `$2${pick(["a", "b", "y", "x"])}$${pick(["00", "04", "05", "15", "31", "99", "4"])}$${bcrypt(4).slice(7, pick([59, 60]))}${pick(["", "C", "D", "=", "\0"])}`,
    () => `$scrypt$ln=${number()},r=${number()},p=${number()}$${blob()}$${blob()}`,
    () => `scrypt$${number()}$${blob()}$${number()}$${number()}$${blob()}`,
    () =>
      `$pbkdf2${pick(["", "-sha1", "-sha256", "-sha512", "-md5"])}$${number()}$${blob()}$${blob()}`,
    () => `pbkdf2_${pick(["sha1", "sha256", "sha512", "md5"])}$${number()}$${blob()}$${blob()}`,
    () =>
      `bcrypt${pick(["", "_sha256"])}$${pick([bcrypt(4), bcrypt(99), argon2("m=64,t=1,p=1"), ""])}`,
    () =>
      [...argon2("m=64,t=1,p=1")]
        .map((letter) => (pick([0, 0, 0, 0, 0, 0, 0, 0, 1]) ? pick(["$", "=", "A", ""]) : letter))
        .join(""),
  ];
  const cost = { kibibytes: 64, passes: 1 };
  const hashing = openHashing({ atOnce: 1, queueMax: 9, waitMaxMs: 60_000, cost });
  let faults = 0;
  let slowest = { ms: 0, hash: "" };
  const rounds = 4_000;
  for (let round = 0; round < rounds; round += 1) {
    const hash = pick(kinds)();
    const from = performance.now();
    const onFault = () => {
      faults += 1;
    };
    // A few of them match.
    expect(await verifyPassword(hashing, { password: PASSWORD, hash, onFault })).toBeBoolean();
    const ms = performance.now() - from;
    if (ms > slowest.ms) slowest = { ms, hash };
  }
  expect(faults).toBeGreaterThan(rounds / 2);
  expect(faults).toBeLessThan(rounds);
  console.log(
    `stored hashes: ${rounds} verified, ${faults} refused, the slowest in ${slowest.ms.toFixed(0)} ms: ${slowest.hash.slice(0, 60)}`,
  );
});
