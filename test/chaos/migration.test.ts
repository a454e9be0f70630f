/**
 * Migrations that are killed, or run by four instances at once: the schema is old or new, never
 * half.
 */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { migrations } from "../../src/db/migrate.ts";
import { client, command, emptyFolder, rounds, serve } from "../support/program.ts";

setDefaultTimeout(300_000);
const home = process.env["E2E_DATABASE_URL"];
const admin = home ? connect({ url: home, caFile: undefined }, { max: 1 }) : undefined;
const name = `bunker_e2e_migration_${process.pid}`;
const PASSWORD = "correct horse battery staple";
/** The number of migrations of the older schema. */
const OLDER = 4;
const urlOf = (database: string) =>
  Object.assign(new URL(home ?? ""), { pathname: `/${database}` }).href;

afterAll(async () => {
  for (const one of [name, `${name}_whole`])
    await admin?.unsafe(`drop database if exists ${one} with (force)`);
  await admin?.end();
});

async function empty(database: string) {
  await admin?.unsafe(`drop database if exists ${database} with (force)`);
  await admin?.unsafe(`create database ${database}`);
  return {
    DATABASE_URL: urlOf(database),
    SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    PUBLIC_URL: "https://accounts.example.com",
    RATE_LIMIT: "off",
  };
}

/** About the duration of the migrations. */
const MIGRATING_MS = 60;
async function isMigrating(): Promise<boolean> {
  const locks = await admin?.unsafe(
    `select 1 from pg_locks join pg_database on pg_database.oid = database where locktype = 'advisory' and datname = '${name}'`,
  );
  return (locks?.length ?? 0) > 0;
}

/** Every table, column, constraint, index, function and trigger, as text. */
async function schemaOf(database: string): Promise<unknown[]> {
  const sql = connect({ url: urlOf(database), caFile: undefined }, { max: 1 });
  try {
    const rows = await sql`
      select 'column' as kind, concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default) as what
        from information_schema.columns where table_schema = 'public'
      union all select 'constraint', concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))
        from pg_constraint where connamespace = 'public'::regnamespace
      union all select 'index', indexdef from pg_indexes where schemaname = 'public'
      union all select 'trigger', pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
      union all select 'function', pg_get_functiondef(oid) from pg_proc where pronamespace = 'public'::regnamespace
      order by 1, 2`;
    return [...rows];
  } finally {
    await sql.end();
  }
}

describe.if(home !== undefined && process.env["BUNKER"] !== undefined)("on a server", () => {
  test(`the next start completes a migration that was killed: ${rounds} rounds`, async () => {
    const whole = await empty(`${name}_whole`);
    expect((await command(["migrate"], { env: whole })).code).toBe(0);
    const wanted = await schemaOf(`${name}_whole`);
    let inside = 0;
    for (let round = 0; round < rounds; round++) {
      const env = await empty(name);
      const program = resolve(process.env["BUNKER"] ?? "");
      const migrating = spawn(program, ["migrate"], { env, stdio: "ignore" });
      const ended = new Promise((done) => migrating.once("close", done));
      // The lock is held from the first statement to the last.
      while (migrating.exitCode === null && !(await isMigrating())) await sleep(1);
      await sleep(MIGRATING_MS * (round / rounds));
      inside += (await isMigrating()) ? 1 : 0;
      migrating.kill("SIGKILL");
      await ended;
      const status = JSON.parse((await command(["migrate", "status", "--json"], { env })).out);
      expect(status.applied.length + status.pending.length).toBeGreaterThan(10);
      // What the journal lists is there. The next start applies the rest.
      const server = await serve({ cwd: emptyFolder(), env });
      expect((await client(server.url).register("ada@example.com", PASSWORD)).status).toBe(201);
      expect(await server.end("SIGTERM")).toBe(0);
      expect(await schemaOf(name)).toEqual(wanted);
    }
    expect(inside).toBeGreaterThan(0);
  });

  for (const [what, count] of [
    ["an empty database", 0],
    ["an older schema", OLDER],
  ] as const)
    test(`of four instances that start together on ${what}, one migrates and all serve: ${rounds} rounds`, async () => {
      const whole = await empty(`${name}_whole`);
      expect((await command(["migrate"], { env: whole })).code).toBe(0);
      for (let round = 0; round < rounds; round++) {
        const env = await empty(name);
        if (count > 0) await migrateTo(count);
        const start = () => serve({ cwd: emptyFolder(), env });
        const servers = await Promise.all([start(), start(), start(), start()]);
        const [first, , , last] = servers.map(({ url }) => client(url));
        expect((await first?.register("ada@example.com", PASSWORD))?.status).toBe(201);
        expect(await last?.logIn("ada", PASSWORD)).toStartWith("ey");
        const migrated = servers.filter(({ said }) => said.err.includes("Migrations applied"));
        expect(migrated).toHaveLength(1);
        for (const server of servers) expect(await server.end("SIGTERM")).toBe(0);
        expect(await schemaOf(name)).toEqual(await schemaOf(`${name}_whole`));
      }
    });
});

/** The schema of an old release. */
async function migrateTo(count: number): Promise<void> {
  const sql = connect({ url: urlOf(name), caFile: undefined }, { max: 1 });
  await sql`create table public.bunker_migrations (
    tag text primary key, applied_at timestamptz not null default now())`;
  for (const migration of migrations.slice(0, count)) {
    await sql.unsafe(migration.sql);
    await sql`insert into public.bunker_migrations (tag) values (${migration.tag})`;
  }
  await sql.end();
}
