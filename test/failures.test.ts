/** What each SQLSTATE becomes: a temporary failure is 503 and is retried, an error of ours 500. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createApp } from "../src/app.ts";
import { connect, type Database, openDatabase, type Sql } from "../src/db/db.ts";
import { isDatabaseOutage } from "../src/db/failures.ts";
import { type Answer, fakeServer } from "./support/fake-postgres.ts";
import { world } from "./support/world.ts";

/** The classes of PostgreSQL's appendix A, and the codes that differ from their class. */
const outages = words("08 28 3D 40 53 57 58 72 25006 25P03 25P04 55P03");
const bugs = words(
  "00 01 02 03 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 2B 2D 2F 34 38 39 3B 3F 42 44 54 55 F0 HV P0 XX 40002",
);
const states = [...outages, ...bugs];

/** A class becomes its common state. */
function words(text: string): string[] {
  return text.split(" ").map((state) => state.padEnd(5, "0"));
}

let answer: Answer = {};
let server: Awaited<ReturnType<typeof fakeServer>>;
const place = () => ({ url: `postgres://a@127.0.0.1:${server.port}/b`, caFile: undefined });

beforeAll(async () => {
  server = await fakeServer({
    get refuseWith() {
      return answer.refuseWith;
    },
    get isFatal() {
      return answer.isFatal;
    },
    failWith: (statement) => answer.failWith?.(statement),
  } as Answer);
});
afterAll(async () => {
  await server.close();
});

async function withDriver<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
  const sql = connect(place(), { max: 1 });
  try {
    return await work(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}
const failureOf = (statement: Promise<unknown>) =>
  statement.then(
    () => undefined,
    (error: unknown) => error,
  );

describe("a statement that fails", () => {
  test.each(states)("with %s is an outage or a bug by its class", async (state) => {
    answer = { failWith: () => state };
    await withDriver(async (sql) => {
      for (const statement of [sql`select 1`, sql`select ${1}::int`, sql`select 1`.simple()])
        expect(isDatabaseOutage(await failureOf(statement))).toBe(outages.includes(state));
    });
  });

  test.each(["57P01", "57P03", "08006", "53300"])(
    "with %s together with its connection does not fail the next statement",
    async (state) => {
      answer = { failWith: () => state, isFatal: true };
      await withDriver(async (sql) => {
        expect(isDatabaseOutage(await failureOf(sql`select 1`))).toBe(true);
        answer = {};
        expect(await failureOf(sql`select 1`)).toBeUndefined();
      });
    },
  );
});

describe("a refused session", () => {
  test.each(states)("with %s is an outage, whatever its class", async (refuseWith) => {
    answer = { refuseWith };
    await withDriver(async (sql) =>
      expect(isDatabaseOutage(await failureOf(sql`select 1`))).toBe(true),
    );
  });

  test("is retried with the next statement", async () => {
    answer = { refuseWith: "28P01" };
    await withDriver(async (sql) => {
      await failureOf(sql`select 1`);
      answer = {};
      expect(await failureOf(sql`select 1`)).toBeUndefined();
    });
  });
});

describe("a request", () => {
  let database: Database;
  let signIn: () => Promise<Response>;
  beforeAll(async () => {
    database = openDatabase({
      place: place(),
      poolSize: 1,
      connectTimeoutSeconds: 5,
      statementTimeoutSeconds: 5,
    });
    const { ctx } = await world();
    const app = createApp({ ...ctx, db: database.db });
    const body = new URLSearchParams({ username: "ada@example.com", password: "a pass phrase" });
    signIn = async () =>
      app.handle(new Request("http://localhost/api/v1/auth/login", { method: "POST", body }));
  });
  afterAll(() => database.close());

  test.each([
    ["57P01", 503],
    ["53300", 503],
    ["40P01", 503],
    ["42P01", 500],
    ["XX000", 500],
  ])("whose statement fails with %s gets %d", async (state, status) => {
    answer = { failWith: () => state };
    const response = await signIn();
    expect([response.status, response.headers.has("retry-after")]).toEqual([
      status,
      status === 503,
    ]);
  });

  test.each(["28P01", "28000", "3D000", "57P03", "53300", "XX000"])(
    "gets 503 while sessions are refused with %s",
    async (refuseWith) => {
      answer = { failWith: () => "57P01", isFatal: true };
      await signIn();
      answer = { refuseWith };
      const response = await signIn();
      expect([response.status, response.headers.get("retry-after")]).toEqual([503, "2"]);
    },
  );
});
