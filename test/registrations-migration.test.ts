/** Users of an earlier version whose email was never verified become registrations. */
import { expect, test } from "bun:test";
import { openDatabase } from "../src/db/db.ts";
import { migrate } from "../src/db/migrate.ts";
import { migrations } from "../src/db/migrations.ts";
import { freshDatabase } from "./support/postgres.ts";

const TAG = "0021_registrations";
const AT = "2026-11-20T10:00:00Z";
const HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA";

/** A database of the version before. */
async function olderDatabase() {
  const place = await freshDatabase("empty");
  const bounds = { poolSize: 3, connectTimeoutSeconds: 5, statementTimeoutSeconds: 5 };
  const { sql, close } = openDatabase({ place, ...bounds });
  await sql`create table bunker_migrations (tag text primary key, applied_at timestamptz default now())`;
  for (const { tag, sql: text } of migrations) {
    if (tag === TAG) break;
    await sql.unsafe(text);
    await sql`insert into bunker_migrations (tag) values (${tag})`;
  }
  const insert = async (name: string, more: object = {}) => {
    const [row] = await sql<{ id: string }[]>`insert into users ${sql({
      id: Bun.randomUUIDv7(),
      email: `${name}@example.com`,
      email_key: `${name}@example.com`,
      username: `user-${name}`,
      username_key: `user-${name}`,
      wanted_username: name,
      full_name: name,
      password_hash: HASH,
      created_at: AT,
      updated_at: AT,
      ...more,
    })} returning id`;
    return row?.id ?? "";
  };
  return { sql, close, insert };
}

test("unverified users without a sign-in become registrations with their links", async () => {
  const { sql, close, insert } = await olderDatabase();
  try {
    const link = (userId: string, purpose: string, email: string) =>
      sql`insert into one_time_secrets ${sql({
        id: Bun.randomUUIDv7(),
        purpose,
        user_id: userId,
        address_key: email,
        hash: Buffer.from(`${purpose} ${userId} ${email}`),
        created_at: AT,
        expires_at: "2026-11-21T10:00:00Z",
      })}`;
    const ada = await insert("ada");
    await link(ada, "verify_email", "ada@example.com");
    await link(ada, "reset_password", "ada@example.com");
    await link(ada, "verify_email", "former@example.com");
    await insert("bob");
    await insert("verified", { email_verified: true });
    await insert("root", { is_superuser: true });
    await insert("settled", { wanted_username: null });
    await insert("inactive", { is_active: false });
    const used = await insert("used");
    await sql`insert into sessions ${sql({
      id: Bun.randomUUIDv7(),
      user_id: used,
      created_at: AT,
      last_used_at: AT,
      current_hash: Buffer.from("a"),
      seed_hash: Buffer.from("b"),
    })}`;

    expect(await migrate(sql)).toContain(TAG);
    const kept = await sql`select email from users order by email`;
    expect(kept.map(({ email }) => email)).toEqual([
      "inactive@example.com",
      "root@example.com",
      "settled@example.com",
      "used@example.com",
      "verified@example.com",
    ]);
    const waiting = await sql`select email, purpose, username, password_hash is null as "hasNone",
      hash is null as "isWithoutLink" from registrations order by email, purpose, hash nulls first`;
    expect(waiting.map((row) => Object.values(row))).toEqual([
      ["ada@example.com", "reset_password", null, true, false],
      ["ada@example.com", "verify_email", "ada", false, true],
      ["ada@example.com", "verify_email", "ada", false, false],
      ["bob@example.com", "verify_email", "bob", false, true],
    ]);
    const events = await sql`select type, id from events where subject_id = ${ada}`;
    expect(events.map(({ type, id }) => [type, String(id)[14]])).toEqual([["user.deleted", "7"]]);
    expect(await sql`select 1 from erasures`).toHaveLength(2);
  } finally {
    await close();
  }
});

test("a user who verifies the email while the migration runs stays a user", async () => {
  const { sql, close, insert } = await olderDatabase();
  try {
    const ada = await insert("ada");
    await insert("bob");
    const [migrating] = await sql.begin(async (tx) => {
      await tx`update users set email_verified = true, wanted_username = null where id = ${ada}`;
      const running = migrate(sql);
      const isWaiting = () => sql`select 1 from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`;
      while ((await isWaiting()).length === 0) await Bun.sleep(5);
      // In an array: the transaction would await a promise, which waits for it.
      return [running];
    });
    expect(await migrating).toContain(TAG);
    expect([...(await sql`select email from users`)]).toEqual([{ email: "ada@example.com" }]);
    expect([...(await sql`select email from registrations`)]).toEqual([
      { email: "bob@example.com" },
    ]);
    expect(await sql`select 1 from events where subject_id = ${ada}`).toHaveLength(0);
  } finally {
    await close();
  }
});
