import { describe, expect, test } from "bun:test";
import { emailKeyOf, readEmail, readLocale, readUsername } from "../src/kit/names.ts";

describe("an email", () => {
  const same: [string, string][] = [
    ["Ada@Example.COM", "ada@example.com"],
    ["  ada@example.com ", "ada@example.com"],
    ["ada@BÜCHER.example", "ada@xn--bcher-kva.example"],
    ["STRASSE@example.com", "strasse@example.com"],
    ["ÄDA@example.com", "äda@example.com"],
    ["a\u0308da@example.com", "äda@example.com"],
    ["ΣΑΣ@example.com", "σασ@example.com"],
    ["J\u030c0@example.com", "\u01f00@example.com"],
  ];
  for (const [one, other] of same)
    test(`${JSON.stringify(one)} is ${other}`, () =>
      expect(emailKeyOf(one)).toBe(emailKeyOf(other)));

  test("keeps its tag and its spelling", () => {
    expect(readEmail(" Ada+Lists@Example.com")).toEqual({
      shown: "Ada+Lists@Example.com",
      key: "ada+lists@example.com",
    });
    expect(emailKeyOf("ada+a@example.com")).not.toBe(emailKeyOf("ada@example.com"));
  });

  const refused = [
    "ada",
    "example.com",
    "adaexample.com",
    "ada@",
    "@example.com",
    "ada@localhost",
    "ada@example",
    "ada@127.0.0.1",
    "ada@[127.0.0.1]",
    "ada@exa mple.com",
    "ada@example.com\r\nBcc: eve@example.com",
    "Ada <ada@example.com>",
    '"a b"@example.com',
    "ada@@example.com",
    "=?utf-8?q?eve=40evil.example=3e=00?=@example.com",
    "=?iso-8859-1?b?ZXZl?=foo@example.com",
    "ada@eve@example.com",
    "a..b@example.com",
    ".ada@example.com",
    "ada.@example.com",
    "ada@-example.com",
    "ada@example..com",
    "ａｄａ@example.com",
    `${"a".repeat(65)}@example.com`,
    `ada@${"a".repeat(64)}.com`,
    `ada@${"abcdefghi.".repeat(25)}com`,
    "ada,eve@example.com",
    "ada\u200b@example.com",
    "\u212aada@example.com",
    "a\u0308da@example.com",
    "ada\ufe0f@example.com",
    "ada@exam\u034fple.com",
    "ada@\u24d4xample.com",
    "ada@example\u3002com",
    "ada@exa\tmple.com",
    "ada@exa\r\nmple.com",
    "ada@%65xample.com",
    "ada@example.com/x",
    "ada@example.com?x",
    "ada@exa\u00admple.com",
    "ada@a.-b",
    "ada@example.c1-",
  ];
  for (const address of refused)
    test(`${JSON.stringify(address)} is refused`, () =>
      expect(readEmail(address)).toHaveProperty("pointer", "/email"));
});

test("a username has 3 to 32 plain characters, and is not reserved", () => {
  for (const name of ["ada", "Ada.Lovelace", "a-_.1", "x".repeat(32)])
    expect(readUsername(name)).toEqual({ shown: name, key: name.toLowerCase() });
  for (const name of ["ab", "x".repeat(33), "a da", "ada@x", "аda", "ada\n", "a/b"].filter(
    (one) => one.trim() === one,
  ))
    expect(readUsername(name)).toMatchObject({ code: "wrong_format" });
  for (const name of ["root", "Admin", "nobody"])
    expect(readUsername(name)).toMatchObject({ code: "reserved" });
});

test("a locale is a language tag, in its canonical spelling", () => {
  expect(readLocale("EN-gb")).toBe("en-GB");
  expect(readLocale("zh-hant-tw")).toBe("zh-Hant-TW");
  for (const tag of ["", "e", "en_GB!", "x".repeat(40)])
    expect(readLocale(tag)).toMatchObject({ pointer: "/locale" });
});
