/**
 * Which emails belong to one user: all of Unicode through the reader, its key, registration and
 * sign-in.
 */
import { describe, expect, test } from "bun:test";
import { emailKeyOf, readEmail } from "../src/kit/names.ts";
import { answerLinkRequests } from "../src/modules/emails/requests.ts";
import { mailWorld } from "./support/mail-world.ts";
import { PASSWORD, world } from "./support/world.ts";

const isSurrogate = (code: number) => code >= 0xd800 && code <= 0xdfff;
const hex = (text: string) =>
  [...text].map((each) => each.codePointAt(0)?.toString(16).padStart(4, "0")).join("+");

/** Every code point, and its other case if it has several. */
function* letters(): Generator<string> {
  for (let code = 0; code < 0x110000; code += 1) {
    if (isSurrogate(code)) continue;
    const letter = String.fromCodePoint(code);
    yield letter;
    for (const form of [letter.toLowerCase(), letter.toUpperCase()])
      if ([...form].length > 1) yield form.normalize("NFC");
  }
}

/** The accepted texts, by their key. */
function groupsOf(emailWith: (letter: string) => string): string[][] {
  const groups = new Map<string, Set<string>>();
  for (const letter of letters()) {
    const read = readEmail(emailWith(letter));
    if (!("key" in read)) continue;
    groups.set(read.key, (groups.get(read.key) ?? new Set()).add(letter));
  }
  return [...groups.values()].map((group) => [...group]);
}

/** By Unicode's mapping of letters, not by ours. */
const isOneInTwoCases = ([one = "", other = one]: string[]) =>
  [one.toLowerCase(), one.toUpperCase()].includes(other) ||
  [other.toLowerCase(), other.toUpperCase()].includes(one);
const withoutCase = (text: string) =>
  [...text]
    .map((letter) => letter.toLowerCase())
    .join("")
    .normalize("NFC");

/** Groups that are neither one letter in two cases, nor the same letters in any case. */
const oddOnes = (groups: string[][]) =>
  groups
    .filter((group) => {
      const single = group.filter((text) => [...text].length === 1);
      const isSame = new Set(group.map(withoutCase)).size === 1;
      return single.length > 2 || !isOneInTwoCases(single) || !isSame;
    })
    .map((group) => group.map(hex).sort().join(" "));

const SLOW_MS = 300_000;

describe("of all code points, two accepted emails share a key only by letter case", () => {
  test(
    "in the local part",
    () => {
      const groups = groupsOf((letter) => `a${letter}b@example.com`);
      // Small sigma has another form at the end of a word.
      expect(oddOnes(groups)).toEqual(["03a3 03c2 03c3"]);
      const ascii = groups.filter((group) => group.some((text) => /^[a-z]$/i.test(text)));
      expect(ascii.map((group) => group.sort().join(""))).toEqual(
        [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"].map((letter) => letter + letter.toLowerCase()),
      );
      console.log(
        `emails: ${groups.length} local parts, ${groups.filter(({ length }) => length > 1).length} of them in two cases`,
      );
    },
    SLOW_MS,
  );

  test(
    "in the domain",
    () => {
      expect(oddOnes(groupsOf((letter) => `a@b${letter}c.example.com`))).toEqual([]);
    },
    SLOW_MS,
  );

  test("invisible characters are refused", () => {
    for (let code = 0; code < 0x110000; code += 1) {
      if (isSurrogate(code)) continue;
      const letter = String.fromCodePoint(code);
      if (!/\p{Default_Ignorable_Code_Point}/u.test(letter)) continue;
      for (const email of [`a${letter}b@example.com`, `a@b${letter}c.example.com`])
        if ("key" in readEmail(email)) expect.unreachable(`${hex(letter)} is accepted`);
    }
  });
});

/** Other mailboxes than ada.lovelace.kiss@example.com that have its key or look like it. */
const confusable = [
  "ada.lovelace.\u212aiss@example.com",
  "ada.lovelace.ki\u017fs@example.com",
  "ada.love\u034flace.kiss@example.com",
  "ada.lovelace.kiss\ufe0f@example.com",
  "ada.lovelace\u2024kiss@example.com",
  "\u1d43da.lovelace.kiss@example.com",
  "\uff41da.lovelace.kiss@example.com",
  "ada.lovelace.kiss@\uff45xample.com",
  "ada.lovelace.kiss@\u24d4xample.com",
  "ada.lovelace.kiss@exam\u034fple.com",
  "ada.lovelace.kiss@example\u3002com",
  "ada.lovelace.kiss@example\uff0ecom",
  "ada.lovelace.kiss@exam\ufe00ple.com",
];

test("a confusable email is refused with 422 at registration and as a new email", async () => {
  const { anonymous, newUser } = await world({ rateLimit: "off" });
  const eve = await newUser("eve@example.com");
  for (const email of confusable) {
    expect([hex(email), emailKeyOf(email)]).toEqual([
      hex(email),
      expect.stringMatching(/@example\.com$/),
    ]);
    const answers = [
      await anonymous.post("/auth/register", { email, password: PASSWORD }),
      await eve.post("/users/me/email", { email, current_password: PASSWORD }),
    ];
    for (const { status, body } of answers)
      expect([hex(email), status, body.errors?.[0]?.pointer]).toEqual([hex(email), 422, "/email"]);
  }
});

test("a sample of all letters registers, signs in in either case, and is registered once", async () => {
  const { anonymous } = await world({
    rateLimit: "off",
    requireEmailVerification: "off",
    mailUrl: "smtp://localhost?smtputf8=on",
  });
  const sample = [
    "\u0130",
    "\u00df",
    "\u0131",
    "\u01f0",
    "\u03c2",
    "\u13a0",
    "\u1c90",
    "\u{1e900}",
    "\u7528",
    "\u00e9",
  ];
  for (const letter of sample) {
    const emails = [letter, letter.toLowerCase(), letter.toUpperCase()]
      .map((form) => `a${form.normalize("NFC")}1@example.com`)
      .filter((email) => emailKeyOf(email) === emailKeyOf(`a${letter}1@example.com`));
    const statuses: number[] = [];
    for (const email of emails)
      statuses.push((await anonymous.post("/auth/register", { email, password: PASSWORD })).status);
    expect([hex(letter), ...statuses]).toEqual([
      hex(letter),
      201,
      ...emails.slice(1).map(() => 409),
    ]);
    for (const username of emails)
      expect((await anonymous.post("/auth/login", { username, password: PASSWORD })).status).toBe(
        200,
      );
  }
});

test("a user with an email from before this rule signs in, and gets mail at that mailbox only", async () => {
  const { anonymous, newUser, ctx, sql } = await world();
  const legacy = "ada.\u212a@example.com";
  await newUser("ada.k@example.com");
  await sql`update users set email = ${legacy}`;
  for (const username of [legacy, "ada.k@example.com"])
    expect((await anonymous.post("/auth/login", { username, password: PASSWORD })).status).toBe(
      200,
    );
  await sql`delete from mails`;
  await anonymous.post("/auth/password/forgot", { email: "ada.k@example.com" });
  await answerLinkRequests(ctx);
  expect(await sql`select recipient from mails`).toEqual([{ recipient: legacy }] as never);
});

test("such a user undoes an email change from that mailbox", async () => {
  const here = await mailWorld();
  const ada = await here.verifiedUser("ada.k@example.com");
  const legacy = "ada.\u212a@example.com";
  await here.sql`update users set email = ${legacy}`;
  here.ctx.principals.forgetAll();
  await ada.post("/users/me/email", { email: "eve@example.org", current_password: PASSWORD });
  const token = await here.tokenFor("eve@example.org", "change_email");
  expect((await here.verify({ token, password: PASSWORD })).status).toBe(204);
  const undo = await here.tokenFor(legacy, "email_changed");
  expect((await here.form("/undo-email", { token: undo })).body).toContain("was restored");
  expect(await here.sql`select email, email_key from users`).toEqual([
    { email: legacy, email_key: "ada.k@example.com" },
  ] as never);
});
