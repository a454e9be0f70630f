/** Loaded once before all tests: a real PostgreSQL, embedded or the server of TEST_DATABASE_URL. */
import { afterAll, afterEach, setSystemTime } from "bun:test";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type Place } from "../../src/db/db.ts";
import { openEmbedded } from "../../src/db/embedded/embedded.ts";
import { migrate } from "../../src/db/migrate.ts";

// If several test files import a file, its hooks run only for the first of them.
afterEach(() => void setSystemTime());

const url = process.env["TEST_DATABASE_URL"];
const folder = mkdtempSync(join(tmpdir(), "bunker-test-"));
chmodSync(folder, 0o711);
const embedded = url
  ? undefined
  : await openEmbedded({
      dataDir: join(folder, "data"),
      holder: { command: "serve", url: "http://localhost" },
      maxConnections: 60,
      warn: (sentence) => process.stderr.write(`${sentence}\n`),
    });
const home: Place = embedded ?? { url: url ?? "", caFile: undefined };
const admin = connect(home, { max: 1 });
const run = `bunker_test_${process.pid}`;
const template = `${run}_template`;
let made = 0;

/** The same server, another database. */
export const databaseNamed = (name: string): Place =>
  "socketPath" in home
    ? { ...home, database: name }
    : { ...home, url: Object.assign(new URL(home.url), { pathname: `/${name}` }).href };

// This database need not survive a crash of the machine.
if (embedded)
  for (const statement of ["alter system set fsync = off", "select pg_reload_conf()"])
    await admin.unsafe(statement);
/** The URL of a database for another role. */
export function urlOf(place: Place, role: string): string {
  if ("url" in place) return Object.assign(new URL(place.url), { username: role }).href;
  return `postgres://${role}@${encodeURIComponent(place.socketPath)}/${place.database ?? "bunker"}`;
}

await admin.unsafe(`create database ${template}`);
const migrating = connect(databaseNamed(template), { max: 1 });
await migrate(migrating);
await migrating.end();

/**
 * A new database, migrated unless an empty one is requested. The one of TEST_DATABASE_URL stays
 * unchanged.
 */
export async function freshDatabase(from: "migrated" | "empty" = "migrated"): Promise<Place> {
  made += 1;
  const name = `${run}_${made}`;
  await admin.unsafe(
    `create database ${name} template ${from === "migrated" ? template : "template0"}`,
  );
  return databaseNamed(name);
}

const closing: (() => Promise<void>)[] = [];
/** For resources that are opened once for the whole run. The latest one is closed first. */
export const atTheEnd = (close: () => Promise<void>) => void closing.unshift(close);

afterAll(async () => {
  for (const close of closing) await close();
  const databases = [template, ...Array.from({ length: made }, (_, at) => `${run}_${at + 1}`)];
  for (const name of databases) await admin.unsafe(`drop database if exists ${name} with (force)`);
  await admin.end();
  await embedded?.close();
  rmSync(folder, { recursive: true, force: true });
});
