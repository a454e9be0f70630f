/**
 * The settings of a server, a database or a role do not change what Bunker does. Settings that
 * would are refused with an explanation.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readConfig } from "../src/config/config.ts";
import { checkDatabase } from "../src/db/checks.ts";
import { connect, type Place, type Sql } from "../src/db/db.ts";
import { migrate, migrationStatus } from "../src/db/migrate.ts";
import { checkedBehindPoolers, sessionSettings } from "../src/db/session.ts";
import { Exit } from "../src/kit/exit.ts";
import { wireOnce } from "../src/wire.ts";
import { type Answer, fakeServer } from "./support/fake-postgres.ts";
import { databaseNamed, freshDatabase, urlOf } from "./support/postgres.ts";

const ROLE = `bunker_test_role_${process.pid}`;
/** A harmful value for everything that Bunker sets for a session. */
const hostile: Record<keyof typeof sessionSettings, string> = {
  DateStyle: "SQL, DMY",
  TimeZone: "Asia/Kolkata",
  IntervalStyle: "iso_8601",
  bytea_output: "escape",
  extra_float_digits: "-15",
  standard_conforming_strings: "off",
  array_nulls: "off",
  transform_null_equals: "on",
  search_path: "other",
  default_transaction_isolation: "serializable",
  default_transaction_read_only: "on",
  default_transaction_deferrable: "on",
  row_security: "on",
  lock_timeout: "1ms",
  idle_session_timeout: "1ms",
  statement_timeout: "1ms",
  idle_in_transaction_session_timeout: "1ms",
};

const admin = connect(await freshDatabase("empty"), { max: 1 });
beforeAll(async () => {
  await admin.unsafe(`create role ${ROLE} login`);
});
afterAll(async () => {
  for (const place of places)
    await inside(place, (sql) =>
      sql.unsafe(`reassign owned by ${ROLE} to current_user; drop owned by ${ROLE}`),
    );
  await admin.unsafe(`drop role ${ROLE}`);
  await admin.end();
});

const places: Place[] = [];
/** The role cannot be removed while it owns something. */
async function freshPlace(from: "migrated" | "empty"): Promise<Place> {
  const place = await freshDatabase(from);
  places.push(place);
  return place;
}

const nameOf = (place: Place) =>
  "socketPath" in place ? (place.database ?? "") : new URL(place.url).pathname.slice(1);
/** Works in `place` as a role that is not a superuser. */
async function asRole<T>(place: Place, work: (sql: Sql) => Promise<T>, isPooled = false) {
  const sql = connect({ url: urlOf(place, ROLE), caFile: undefined, isPooled }, { max: 1 });
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}
async function inside<T>(place: Place, work: (sql: Sql) => Promise<T>) {
  const sql = connect(place, { max: 1 });
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}
/** A database that the role owns. */
async function ownDatabase(): Promise<Place> {
  const place = await freshPlace("empty");
  await admin.unsafe(`alter database ${nameOf(place)} owner to ${ROLE}`);
  return place;
}
const refusal = async (checking: Promise<unknown>): Promise<string> => {
  const error = await checking.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error === undefined) return "accepted";
  if (!(error instanceof Exit)) throw error;
  return `${error.status}: ${error.message}`;
};

describe("a session", () => {
  test.each([
    ["the database", (place: Place) => `database ${nameOf(place)}`],
    ["the role", () => `role ${ROLE}`],
    ["the role in the database", (place: Place) => `role ${ROLE} in database ${nameOf(place)}`],
  ])("is the same whatever %s has set", async (_, ofPlace) => {
    const place = await ownDatabase();
    const target = ofPlace(place);
    for (const [name, value] of Object.entries(hostile))
      await admin.unsafe(
        `alter ${target} set ${name} = ${name === "search_path" ? value : `'${value}'`}`,
      );
    try {
      await asRole(place, async (sql) => {
        const found: Record<string, string> = {};
        for (const name of Object.keys(sessionSettings)) {
          const [row] = await sql`select current_setting(${name}) as value`;
          found[name] = row?.["value"];
        }
        expect(found).toEqual(sessionSettings);
        await checkDatabase(sql, { isPooled: false });
        expect((await migrate(sql)).length).toBeGreaterThan(0);
        const [where] = await sql`select count(*)::int as tables from pg_class
          where relnamespace <> 'public'::regnamespace and relname in ('users', 'bunker_migrations')`;
        expect(where?.["tables"]).toBe(0);
      });
    } finally {
      await admin.unsafe(`alter ${target} reset all`);
    }
  });

  test("through a pooler cannot be set up: wrong settings are refused with the commands that fix them", async () => {
    const place = await ownDatabase();
    const check = () =>
      refusal(asRole(place, (sql) => checkDatabase(sql, { isPooled: true }), true));
    expect(await check()).toBe("accepted");
    for (const [name, value] of Object.entries(hostile))
      await admin.unsafe(
        `alter role ${ROLE} set ${name} = ${name === "search_path" ? value : `'${value === "1ms" ? "900ms" : value}'`}`,
      );
    try {
      const message = await check();
      for (const name of [...checkedBehindPoolers, "statement_timeout", "lock_timeout"])
        expect(message).toContain(` set ${name} = `);
      const commands = message.split("\n").filter((line) => line.startsWith("alter role"));
      for (const line of commands) await admin.unsafe(line);
      expect(await check()).toBe("accepted");
    } finally {
      await admin.unsafe(`alter role ${ROLE} reset all`);
    }
  });

  test("in which changes fire no triggers is refused", async () => {
    const place = await ownDatabase();
    await admin.unsafe(`alter role ${ROLE} set session_replication_role = replica`);
    const check = () => refusal(asRole(place, (sql) => checkDatabase(sql, { isPooled: false })));
    try {
      const message = await check();
      expect(message).toContain("78: ");
      await admin.unsafe(message.split("\n").at(-1) ?? "");
      expect(await check()).toBe("accepted");
    } finally {
      await admin.unsafe(`alter role ${ROLE} reset all`);
    }
  });

  test("whose commits do not wait for the disk causes a warning", async () => {
    const place = await ownDatabase();
    await admin.unsafe(`alter database ${nameOf(place)} set synchronous_commit = off`);
    const { warnings } = await asRole(place, (sql) => checkDatabase(sql, { isPooled: false }));
    expect(warnings).toContainEqual(expect.stringContaining("synchronous_commit = off"));
  });
});

describe("a database is refused, with a remedy,", () => {
  const check = (place: Place) =>
    refusal(
      asRole(place, async (sql) => {
        const { checkMigration } = await checkDatabase(sql, { isPooled: false });
        if ((await migrationStatus(sql)).pending.length > 0) checkMigration();
      }),
    );
  /** The commands follow the last colon. */
  const remedyOf = (message: string) => message.slice(message.lastIndexOf(": ") + 2);

  test("if its encoding is not UTF8", async () => {
    const name = `${nameOf(await freshPlace("empty"))}_latin1`;
    await admin.unsafe(
      `create database ${name} encoding 'LATIN1' locale 'C' locale_provider libc template template0`,
    );
    try {
      expect(await check(databaseNamed(name))).toMatch(/^78: .*LATIN1.*encoding 'UTF8'/);
    } finally {
      await admin.unsafe(`drop database ${name} with (force)`);
    }
  });

  test("if the role may not create tables or use the schema, or there is no schema", async () => {
    const place = await freshPlace("empty");
    const noCreate = await check(place);
    expect(noCreate).toMatch(/^78: .*may not create tables/);
    await inside(place, (sql) => sql.unsafe(remedyOf(noCreate)));
    expect(await check(place)).toBe("accepted");
    await inside(place, (sql) => sql`revoke all on schema public from public`);
    await inside(place, (sql) => sql.unsafe(`revoke all on schema public from ${ROLE}`));
    const noUsage = await check(place);
    expect(noUsage).toMatch(/^78: .*may not use/);
    await inside(place, (sql) => sql.unsafe(remedyOf(noUsage)));
    expect(await check(place)).toBe("accepted");
    await inside(place, (sql) => sql`drop schema public`);
    const noSchema = await check(place);
    expect(noSchema).toMatch(/^78: .*no schema/);
    await inside(place, (sql) => sql.unsafe(remedyOf(noSchema)));
    expect(await check(place)).toBe("accepted");
  });

  test("if it has tables of another program with the names of ours", async () => {
    const place = await ownDatabase();
    await inside(place, (sql) => sql`create table clients (name text)`);
    expect(await check(place)).toMatch(/^78: .*did not create: clients\. Nothing was changed/);
    await inside(place, (sql) => sql`drop table clients`);
    await inside(
      place,
      (sql) => sql`create function touch_updated_at() returns trigger
      language plpgsql as 'begin return new; end'`,
    );
    expect(await refusal(asRole(place, migrate))).toMatch(/^78: .*already exists/);
  });

  test("if the role may not change the tables, or does not see all rows", async () => {
    const place = await freshPlace("migrated");
    await inside(place, async (sql) => {
      await sql.unsafe(`grant select on all tables in schema public to ${ROLE}`);
    });
    const forbidden = await check(place);
    expect(forbidden).toMatch(/^78: .*may not read and change clients/);
    await inside(place, (sql) => sql.unsafe(remedyOf(forbidden)));
    expect(await check(place)).toBe("accepted");
    await inside(place, (sql) => sql`alter table users enable row level security`);
    const hidden = await check(place);
    expect(hidden).toMatch(/^78: .*hides rows of users/);
    await inside(place, (sql) => sql.unsafe(remedyOf(hidden)));
    expect(await check(place)).toBe("accepted");
  });

  const reach = async (answer: Answer, query = "sslmode=disable") => {
    const server = await fakeServer(answer);
    const DATABASE_URL = `postgres://crm:sentinel@127.0.0.1:${server.port}/none?${query}`;
    const config = readConfig({ DATABASE_URL, SECRET_KEY: "k3Jd0sLq8vXz2mNb7TyUw5RfGh1PcAe9" });
    const { checkSchema, close } = await wireOnce(config.config, { purpose: "migrate" });
    const message = await refusal(checkSchema());
    await close();
    await server.close();
    expect(message).not.toContain("sentinel");
    return message;
  };

  test.each([
    ["28P01", /^78: .*password is wrong/],
    ["28000", /^78: .*role "crm".*pg_hba\.conf/],
    ["3D000", /^78: .*create database "none";/],
    ["42501", /^78: .*grant connect on database "none" to "crm"/],
    ["08P01", /^78: .*DATABASE_PREPARE=off/],
    ["53300", /^69: .*max_connections/],
    ["57P03", /^69: .*starting up/],
    ["XX000", /^69: .*log of the server|^69: .*running/],
  ])("if it refuses the session with %s", async (refuseWith, words) =>
    expect(await reach({ refuseWith })).toMatch(words),
  );

  test.each(["require", "verify-ca", "verify-full"])(
    "if its server has no TLS, and sslmode is %s",
    async (mode) =>
      expect(await reach({}, `sslmode=${mode}`)).toMatch(/^78: .*offers no TLS.*sslmode=disable/),
  );
});
