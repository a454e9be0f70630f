import { expect, test } from "bun:test";
import { PASSWORD, world } from "../support/world.ts";

test("names that could break a database or a page are stored unchanged, or refused", async () => {
  const { newUser } = await world();
  const ada = await newUser();
  const names = [
    "Robert'); DROP TABLE users;--",
    "<script>alert(1)</script>",
    "𝓐𝓭𝓪 ❤️ 👩‍👩‍👧",
    "ʇunpᴉpᴉɔuᴉ",
    "%s%n%x",
    "../../etc/passwd",
  ];
  for (const full_name of names)
    expect((await ada.patch("/users/me", { full_name })).body.full_name).toBe(full_name);
});

test("a name stays on one line, in its reading order, and is visible", async () => {
  const { newUser } = await world();
  const ada = await newUser();
  const breaks = ["a\r\nb", "\u001b[2J", "\u0007", "a\u2028b", "a\u2029b", "a\u0085b"];
  const turning = ["\u202egnp.exe", "a\u200fb", "\u2066a\u2069", "\u061ca"];
  const invisible = [
    "\u200b",
    "\u3164",
    "\u2800",
    "\u00ad\ufeff",
    "\u{e0020}",
    "\u0301",
    "\u034f \u2060",
  ];
  for (const full_name of [...breaks, ...turning, ...invisible])
    expect((await ada.patch("/users/me", { full_name })).body.errors).toMatchObject([
      { pointer: "/full_name" },
    ]);
});

test("names are counted in code points", async () => {
  const { newUser } = await world();
  const ada = await newUser();
  for (const length of [101, 200]) {
    const full_name = "😀".repeat(length);
    expect((await ada.patch("/users/me", { full_name })).body.full_name).toBe(full_name);
  }
  for (const full_name of ["😀".repeat(201), "a".repeat(201), "a".repeat(2000)])
    expect((await ada.patch("/users/me", { full_name })).body.errors).toEqual([
      { pointer: "/full_name", code: "too_long", detail: "may have at most 200 characters" },
    ]);
  for (const full_name of ["José", "محمد", "शर्मा", "👩‍👩‍👧", "O’Neil, Jr.", "9", "‘Okina", "क्‍ष"])
    expect((await ada.patch("/users/me", { full_name })).status).toBe(200);
});

test("a username has a letter or a digit", async () => {
  const { newUser, anonymous } = await world();
  const ada = await newUser();
  for (const username of ["...", "___", "-.-_"])
    expect((await ada.patch("/users/me", { username })).body.errors).toMatchObject([
      { pointer: "/username", code: "wrong_format" },
    ]);
  const made = await anonymous.post("/auth/register", {
    email: "___@example.com",
    password: PASSWORD,
  });
  expect(made.body.username).toMatch(/^___-[0-9a-f]{6}$/);
});
