import { describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readOrCreateSecretKey } from "../src/config/secret-key-file.ts";
import { joinSettings } from "../src/config/setting.ts";
import { openHashing } from "../src/credentials/hashing.ts";
import {
  hashPassword,
  passwordRules,
  readPassword,
  usualCost,
  verifyPassword,
} from "../src/credentials/password.ts";
import { weaknessOf } from "../src/credentials/secret.ts";
import { joinTables } from "../src/kit/join.ts";
import { nearest } from "../src/kit/nearest.ts";

const hashing = openHashing({ atOnce: 1, queueMax: 1, waitMaxMs: 10_000, cost: usualCost });
const read = (password: string, names: string[] = [], minLength = 8) => {
  const found = readPassword("/password", password, { minLength, names });
  return typeof found === "string" ? "good" : found.code;
};

describe("passwords", () => {
  test("are counted in characters, from 8 to 128, of any kind", () => {
    expect(read("abcdefg")).toBe("too_short");
    expect(read("🦊".repeat(7))).toBe("too_short");
    expect(read("🦊🐻🐼🐨🐯🦁🐮🐷")).toBe("good");
    expect(read("🦊🐻".repeat(64))).toBe("good");
    expect(read("x".repeat(129))).toBe("too_long");
    expect(read("only lower case and spaces")).toBe("good");
    expect(read("fourteen chars", [], 15)).toBe("too_short");
    expect(read("a NUL \0 in the middle")).toBe("wrong_format");
    expect(read("a lone \ud800 surrogate")).toBe("wrong_format");
  });

  test("are refused if they are common, in any case", () => {
    for (const common of ["password", "PassWord1", "qwertyuiop", "123456789", "iloveyou"])
      expect(read(common)).toBe("password_too_common");
  });

  test("are refused if they are made of the names of the service", () => {
    const settings = {
      passwordMinLength: 8,
      brandName: "Acme",
      publicUrl: "https://accounts.widgets.example",
    };
    const { names } = passwordRules(settings, ["ada@example.com"]);
    for (const ours of ["acme-acme", "Widgets1", "accounts.widgets"])
      expect(read(ours, names)).toBe("password_too_personal");
    expect(read("acme makes good anvils", names)).toBe("good");
  });

  test("are refused if they are made of the user's names", () => {
    const names = ["ada.lovelace@example.com", "countess", "Ada Lovelace"];
    for (const own of [
      "ada.lovelace",
      "LOVELACE1815",
      "countess!!",
      "ada.lovelace@example.com",
      "AdaLovelace1",
    ])
      expect(read(own, names)).toBe("password_too_personal");
    expect(read("countess of the engine", names)).toBe("good");
  });

  test("are hashed with argon2id at 19 MiB and two passes", async () => {
    const hash = await hashPassword(hashing, "correct horse");
    expect(hash).toStartWith("$argon2id$v=19$m=19456,t=2,p=1$");
    const verify = (password: string, stored: string | undefined) =>
      verifyPassword(hashing, { password, hash: stored, onFault: expect.unreachable });
    expect(await verify("correct horse", hash)).toBe(true);
    expect(await verify("Correct horse", hash)).toBe(false);
    expect(await verify("", hash)).toBe(false);
    expect(await verify("correct horse", undefined)).toBe(false);
  });
});

describe("secrets", () => {
  test("that are short, regular or well known are refused", () => {
    const weak = [
      "short",
      "a".repeat(64),
      "0123456789abcdef0123456789abcdef",
      "change-me-change-me-change-me-change-me",
      "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
      "your-256-bit-secret-your-256-bit-secret",
    ];
    for (const secret of weak)
      expect([secret, typeof weaknessOf(secret)]).toEqual([secret, "string"]);
    expect(
      weaknessOf("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    ).toBeUndefined();
  });

  test("that Bunker generates are generated once, and only their owner can read them", () => {
    const folder = mkdtempSync(join(tmpdir(), "bunker-secret-"));
    try {
      const secret = readOrCreateSecretKey(folder);
      expect(weaknessOf(secret)).toBeUndefined();
      expect(readOrCreateSecretKey(folder)).toBe(secret);
      expect(statSync(join(folder, "secret_key")).mode & 0o777).toBe(0o600);
      expect(readdirSync(folder)).toEqual(["secret_key"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

test("a misspelled name finds the intended one, and no other", () => {
  const known = ["DATABASE_URL", "SECRET_KEY", "PORT", "HOST"];
  expect(nearest("DATABSE_URL", known)).toBe("DATABASE_URL");
  expect(nearest("SECRETKEY", known)).toBe("SECRET_KEY");
  expect(nearest("HOME", known)).toBeUndefined();
  expect(nearest("HOSTNAME", known)).toBeUndefined();
});

test("a product cannot have a setting, job, problem or event type with a name of Bunker", () => {
  expect(joinTables({ a: 1 }, { b: 2 })).toEqual({ a: 1, b: 2 });
  expect(() => joinTables({ a: 1 }, { a: 2, b: 2 })).toThrow("a name that Bunker uses: a");
});

test("a setting of the product may not have a variable of Bunker, whatever its key", () => {
  const own = { secretKey: { name: "SECRET_KEY", isSecret: true } as const };
  expect(joinSettings(own, { mine: { name: "MINE" } })).toHaveProperty("mine");
  for (const name of ["SECRET_KEY", "SECRET_KEY_FILE"])
    expect(() => joinSettings(own, { mine: { name } })).toThrow(`Bunker uses: ${name}.`);
  expect(() => joinSettings(own, { secretKey: { name: "MINE" } })).toThrow("uses: secretKey.");
});
