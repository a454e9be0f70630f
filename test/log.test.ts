import { expect, test } from "bun:test";
import { openDatabase } from "../src/db/db.ts";
import { describeError } from "../src/kit/log.ts";
import { createUser } from "../src/modules/users/users.ts";
import { freshDatabase } from "./support/postgres.ts";
import { PASSWORD, world } from "./support/world.ts";

const logged = (error: unknown) => JSON.stringify(describeError(error));

test("a failed statement is logged by its code and place, not its contents", async () => {
  const { ctx } = await world();
  const input = { email: "sentinel@example.com", password: PASSWORD, fullName: "Sentinel" };
  const database = openDatabase({
    place: await freshDatabase("empty"),
    poolSize: 1,
    connectTimeoutSeconds: 5,
    statementTimeoutSeconds: 5,
  });
  try {
    const creating = createUser({ ...ctx, db: database.db }, { kind: "operator" }, input);
    const error = await creating.catch((reason: unknown) => reason);
    expect(String(error)).toContain("sentinel");
    expect(logged(error)).toContain('"code":"42P01"');
    expect(logged(error)).not.toMatch(/sentinel|argon2|insert/i);
  } finally {
    await database.close();
  }
});

test("an error of our own code is logged with its message", () => {
  expect(logged(new TypeError("x is not a function"))).toContain("x is not a function");
  expect(logged(Object.assign(new Error("secret"), { code: "E" }))).not.toContain("secret");
  expect(logged("secret")).not.toContain("secret");
});
