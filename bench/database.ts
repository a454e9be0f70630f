import postgres from "postgres";
import type { Workspace } from "./workspace.ts";

const SERVER = "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable";

/**
 * Creates an empty database on the server that BENCH_DATABASE_URL names, and returns its URL. It is
 * dropped when the workspace closes.
 */
export async function createDatabase(workspace: Workspace): Promise<string> {
  const server = process.env["BENCH_DATABASE_URL"] || SERVER;
  const name = `bunker_bench_${process.pid}_${crypto.randomUUID().slice(0, 8)}`;
  const run = async (statement: string) => {
    const sql = postgres(server, { max: 1, connect_timeout: 5, onnotice: () => {} });
    await sql.unsafe(statement).finally(() => sql.end());
  };
  workspace.onClose(() => run(`drop database if exists ${name} with (force)`));
  await run(`create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}
