import { describe, expect, setSystemTime, test } from "bun:test";
import { DAY } from "../../src/kit/limits.ts";
import { addressOf, few, street, wrong } from "../support/street.ts";
import type { Answer } from "../support/world.ts";

/** Everything of an answer that a client sees and that does not differ from one request to the next. */
const visible = ({ status, body, headers }: Answer) => ({
  status,
  body: { ...body, request_id: "" },
  headers: Object.fromEntries([...headers].filter(([name]) => name !== "x-request-id")),
});

describe("a sign-in", () => {
  test("answers alike for a user and for no user, however many tries failed", async () => {
    setSystemTime(new Date("2026-11-28T09:00:00Z"));
    const { post } = await street({ "login-streak": { ...few, periodSeconds: 90 * DAY } });
    const tries = async (from: number) => {
      const answers: Record<string, unknown[]> = { "ada@example.com": [], "bob@example.com": [] };
      for (const [at, username] of Object.keys(answers).entries())
        for (let number = 0; number < 5; number += 1)
          answers[username]?.push(
            visible(await post("login", addressOf(from + at * 5 + number), { username, password })),
          );
      return answers;
    };
    const password = wrong;
    for (const hours of [0, 3, 30, 24 * 40, 24 * 60]) {
      setSystemTime(new Date(Date.parse("2026-11-28T09:00:00Z") + hours * 3_600_000));
      const { "ada@example.com": known = [], ...others } = await tries(hours * 10);
      expect([hours, others]).toEqual([hours, { "bob@example.com": known }]);
      expect(known.at(-1)).toMatchObject({ status: 429 });
    }
  });

  test("does not link an email to a username", async () => {
    setSystemTime(new Date("2026-11-28T09:00:00Z"));
    const { post, person } = await street({ "login-account": few });
    await person("bob@example.com");
    const guess = async (at: number, username: string) =>
      visible(await post("login", addressOf(at), { username, password: wrong }));
    for (let at = 0; at < 4; at += 1) await guess(at, "ada@example.com");
    const answers = [await guess(10, "ada"), await guess(11, "bob"), await guess(12, "nobody-1")];
    expect(answers.map(({ status }) => status)).toEqual([401, 401, 401]);
    expect(answers[0]).toEqual(answers[1]);
    expect(answers[0]).toEqual(answers[2]);
  });
});
