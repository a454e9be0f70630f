import { describe, expect, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type Database, openDatabase, type Place } from "../src/db/db.ts";
import { isOutage } from "../src/db/failures.ts";
import { advisoryLocks } from "../src/db/locks.ts";
import { migrate, migrationStatus, migrations } from "../src/db/migrate.ts";
import { exitCodes } from "../src/kit/exit.ts";
import { freshDatabase } from "./support/postgres.ts";

const tags = migrations.map(({ tag }) => tag);

async function withDatabase<T>(place: Place, use: (database: Database) => Promise<T>): Promise<T> {
  const database = openDatabase({
    place,
    poolSize: 2,
    connectTimeoutSeconds: 5,
    statementTimeoutSeconds: 1,
  });
  try {
    return await use(database);
  } finally {
    await database.close();
  }
}

describe("migrations", () => {
  test("of four instances that start together on an empty database, one migrates and none fails", async () => {
    const place = await freshDatabase("empty");
    const applied = await Promise.all(
      [1, 2, 3, 4].map(() => withDatabase(place, ({ sql }) => migrate(sql))),
    );
    expect(applied.filter((one) => one.length > 0)).toEqual([tags]);
    await withDatabase(place, async ({ sql }) =>
      expect(await migrationStatus(sql)).toEqual({ applied: tags, pending: [], unknown: [] }),
    );
  });

  test("that are missing are found anywhere in the order", async () => {
    await withDatabase(await freshDatabase(), async ({ sql }) => {
      await sql`delete from bunker_migrations where tag = ${tags[0] ?? ""}`;
      await sql`insert into bunker_migrations (tag) values ('9999_from_the_future')`;
      expect(await migrationStatus(sql)).toMatchObject({
        pending: [tags[0] ?? ""],
        unknown: ["9999_from_the_future"],
      });
    });
  });

  test("fail at once if their connection is lost", async () => {
    await withDatabase(await freshDatabase("empty"), async (database) => {
      const { sql } = database;
      const holder = await sql.reserve();
      await holder`select pg_advisory_lock(${advisoryLocks.migrations})`;
      const migrating = database.alone(migrate).catch((error: unknown) => error);
      await endOthers(database, "%pg_advisory_lock%");
      expect(isOutage(await migrating)).toBe(true);
      await holder`select pg_advisory_unlock_all()`;
      holder.release();
      expect(await database.alone(migrate)).toEqual(tags);
    });
  });

  test("that fail leave the schema unchanged", async () => {
    await withDatabase(await freshDatabase("empty"), async ({ sql }) => {
      await sql`create function touch_updated_at() returns trigger language plpgsql as 'begin return new; end'`;
      await expect(migrate(sql)).rejects.toThrow("already exists");
      expect((await migrationStatus(sql)).applied).toEqual(tags.slice(0, 1));
      await sql`drop function touch_updated_at`;
      expect(await migrate(sql)).toEqual(tags.slice(1));
    });
  });

  test("whose SQL the database refuses are named, and end the start", async () => {
    await withDatabase(await freshDatabase(), async ({ sql }) => {
      const refused = {
        tag: "product/0000_refused",
        sql: "alter table users add column a nothing",
      };
      const all = migrations as { tag: string; sql: string }[];
      all.push(refused);
      const failure = await migrate(sql).catch((error: unknown) => error);
      all.pop();
      expect(failure).toMatchObject({ status: exitCodes.badConfiguration });
      expect(String(failure)).toContain(`${refused.tag} failed and was rolled back (42704)`);
      expect(await migrationStatus(sql)).toEqual({ applied: tags, pending: [], unknown: [] });
    });
  });
});

/** Ends the session that runs this statement, if there is one. */
async function endOthers({ sql }: Database, statement: string): Promise<void> {
  while (true) {
    const ended = await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'
        and wait_event_type in ('Lock', 'Client', 'Timeout') and query like ${statement}`;
    if (ended.length > 0) return;
    await sleep(10);
  }
}

test("a transaction whose connection is lost runs no more statements on another connection", async () => {
  await withDatabase(await freshDatabase(), async (database) => {
    const { sql } = database;
    await sql`create table kept (word text)`;
    const { promise: isLost, resolve: goOn } = Promise.withResolvers<void>();
    let later: unknown;
    const losing = sql.begin(async (tx) => {
      await tx`insert into kept values ('begun')`;
      await isLost;
      later = await tx`insert into kept values (${"late"})`.catch((error: unknown) => error);
    });
    const lost = losing.catch((error: unknown) => error);
    await endOthers(database, "%begun%");
    expect(isOutage(await lost)).toBe(true);
    // Both connections of the pool are in use again, one of them by another transaction that fails.
    const refused = sql.begin(async (tx) => {
      await tx`insert into kept values ('refused')`;
      goOn();
      await sleep(50);
      throw new Error("refused");
    });
    await Promise.all([expect(refused).rejects.toThrow("refused"), sql`select pg_sleep(0.05)`]);
    expect(isOutage(later)).toBe(true);
    expect(await sql<{ word: string }[]>`select word from kept`).toEqual([] as never);
  });
});

test("a statement that takes too long is an outage, not an internal error", async () => {
  await withDatabase(await freshDatabase(), async ({ sql }) => {
    const error = await sql`select pg_sleep(5)`.catch((reason: unknown) => reason);
    expect(isOutage(error)).toBe(true);
    expect(isOutage(await sql`select 1 / 0`.catch((reason: unknown) => reason))).toBe(false);
  });
});

test("each query of the code has an index that answers it", async () => {
  const queries = {
    users_pkey: "select * from users where id = '019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f70'",
    users_email_key: "select * from users where email_key = 'ada@example.com'",
    users_username_key: "select * from users where username_key = 'ada'",
    users_superusers:
      "select id from users where is_superuser and is_active order by id for update",
    users_created_at_id:
      "select * from users where (created_at, id) > (now(), '019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f70') order by created_at, id limit 100",
  };
  await withDatabase(await freshDatabase(), async ({ sql }) => {
    for (const [index, query] of Object.entries(queries)) {
      const plan = await sql.begin(async (tx) => {
        await tx`set local enable_seqscan = off`;
        await tx`set local enable_sort = off`;
        return tx.unsafe(`explain ${query}`);
      });
      expect(JSON.stringify(plan)).toContain(index);
    }
  });
});

test("a transaction has its own connection, however many statements wait in the pool", async () => {
  const sql = connect(await freshDatabase(), { max: 2 });
  for (const waiting of [199, 200, 201, 202]) {
    const others = Array.from({ length: waiting }, () => sql`select 1`.execute());
    const inside = await sql.begin(async (tx) => tx`select 'alone' as word`);
    expect(inside[0]?.["word"]).toBe("alone");
    await Promise.all(others);
  }
  await sql.end();
});
