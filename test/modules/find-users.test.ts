import { expect, test } from "bun:test";
import type { PageStart } from "../../src/db/page.ts";
import { findUsers } from "../../src/modules/users/directory.ts";
import { createUser } from "../../src/modules/users/users.ts";
import { world } from "../support/world.ts";

const operator = { kind: "operator" } as const;

test("users are found by a part of a name in any case, page by page, and no character is a wildcard", async () => {
  const { ctx, pass } = await world();
  for (const [email, fullName] of [
    ["ada_l@example.com", "Ада Лавлейс"],
    ["bob@example.com", "100% Bob"],
    ["cy@example.com", String.raw`C\y`],
  ] as const) {
    await createUser(ctx, operator, { email, fullName, password: "a long pass phrase" });
    pass(1);
  }
  const find = async (text: string, start: PageStart = { skip: 0 }, limit = 10) =>
    await findUsers(ctx, operator, { text, start, limit });
  const emails = async (text: string) => (await find(text)).map(({ email }) => email);
  expect(await emails("EXAMPLE")).toHaveLength(3);
  expect(await emails("лав")).toEqual(["ada_l@example.com"]);
  expect(await emails("_")).toEqual(["ada_l@example.com"]);
  expect(await emails("%")).toEqual(["bob@example.com"]);
  expect(await emails("\\")).toEqual(["cy@example.com"]);
  expect(await emails("nobody")).toEqual([]);
  const [first] = await find("example", { skip: 0 }, 1);
  expect((await find("example", first, 1)).map(({ email }) => email)).toEqual(["bob@example.com"]);
});
