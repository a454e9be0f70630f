import { afterAll, afterEach, beforeEach } from "bun:test";
import { connect, type Sql } from "../../src/db/db.ts";

/** The server that tests of the binary use besides the embedded database. */
export const databaseServer = process.env["E2E_DATABASE_URL"];

/**
 * Creates an empty database on that server before each test of the calling file, and drops it in
 * the end. Without a server, the tests that need it are skipped.
 */
export function emptyDatabaseForEachTest(purpose: string): { url: string; sql: () => Sql } {
  const name = `bunker_e2e_${purpose}_${process.pid}`;
  const server = databaseServer ?? "postgres://none";
  const url = Object.assign(new URL(server), { pathname: `/${name}` }).href;
  const admin = databaseServer
    ? connect({ url: server, caFile: undefined }, { max: 1 })
    : undefined;
  const drop = () => admin?.unsafe(`drop database if exists ${name} with (force)`);
  let sql: Sql;
  beforeEach(async () => {
    await drop();
    await admin?.unsafe(`create database ${name}`);
    sql = connect({ url, caFile: undefined }, { max: 2 });
  });
  afterEach(() => sql.end());
  afterAll(async () => {
    await drop();
    await admin?.end();
  });
  return { url, sql: () => sql };
}
