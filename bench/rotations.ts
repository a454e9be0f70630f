/**
 * Only runs the statements of a refresh by postgres.js, as Bunker does. `bun bench/rotations.ts
 * '{"url":"postgres://…","tokens":["rt_…"],"refreshes":1000}'` prints the time that it took, as
 * JSON.
 */
import { randomBytes } from "node:crypto";
import { fillPlaceholders } from "drizzle-orm";
import { drizzle } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import { readRefreshToken } from "../src/credentials/refresh-token.ts";
import { consume } from "../src/limits/postgres-counters.ts";
import { rotation } from "../src/modules/sessions/refresh.ts";

export interface RotationLoad {
  url: string;
  tokens: string[];
  refreshes: number;
}

const POOL_SIZE = 10;
const HASH_BYTES = 32;
const unlimited = { count: 1, quota: 9_999_999, refill: 9_999_999, periodSeconds: 60 };
const { url, tokens, refreshes }: RotationLoad = JSON.parse(Bun.argv[2] ?? "{}");
const sql = postgres(url, { max: POOL_SIZE, fetch_types: false });
// Drizzle also makes the driver send JSON and times unchanged, as in Bunker.
const query = rotation(drizzle(sql)).getQuery();

let started = 0;
async function rotate(token: string): Promise<void> {
  const id = readRefreshToken(token)?.sessionId ?? "";
  const key = randomBytes(16).toString("hex");
  const fingerprint = randomBytes(HASH_BYTES);
  const seedHash = randomBytes(HASH_BYTES);
  let hash = randomBytes(HASH_BYTES);
  await sql`update sessions set current_hash = ${hash}, seed_hash = ${seedHash} where id = ${id}`;
  while (started < refreshes) {
    started += 1;
    const now = new Date();
    const dayAgo = new Date(now.getTime() - 86_400_000).toISOString();
    await consume(sql, [{ ...unlimited, key }], now);
    const successorHash = randomBytes(HASH_BYTES);
    const bounds = {
      now: now.toISOString(),
      graceFrom: dayAgo,
      usedFrom: dayAgo,
      bornFrom: dayAgo,
    };
    const secrets = { seedHash, hash, successorHash, nonce: randomBytes(HASH_BYTES) };
    const values = { ...bounds, ...secrets, id, devices: "{}", fingerprint };
    const params = fillPlaceholders(query.params, values) as string[];
    const rows = await sql.unsafe(query.sql, params, { prepare: true });
    if (rows.length !== 1) throw new Error("the rotation changed no row");
    hash = successorHash;
  }
}

const startedAt = performance.now();
await Promise.all(tokens.map(rotate));
console.log(JSON.stringify({ seconds: (performance.now() - startedAt) / 1000 }));
process.exit(0);
