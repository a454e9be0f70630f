import postgres from "postgres";

const USERS_AT_ONCE = 50_000;

/**
 * Adds `count` users by copying one that was registered over the API, with its session and two
 * events. Returns the bytes of each table and its indexes for one user.
 */
export async function addUsers(url: string, email: string, count: number): Promise<Sizes> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    const before = await sizesIn(sql);
    await sql`create table copies (number int, user_id uuid)`;
    for (let from = 0; from < count; from += USERS_AT_ONCE) {
      const to = Math.min(count, from + USERS_AT_ONCE) - 1;
      await sql`truncate copies`;
      await sql`insert into copies select n, ${uuidv7(sql)} from generate_series(${from}::int, ${to}::int) n`;
      await copy(sql, email);
    }
    await sql`drop table copies`;
    await sql`vacuum analyze`;
    const after = await sizesIn(sql);
    const names = ["users", "sessions", "events"] as const;
    return Object.fromEntries(
      names.map((name) => [name, ((after[name] ?? 0) - (before[name] ?? 0)) / count]),
    ) as Sizes;
  } finally {
    await sql.end();
  }
}

type Sizes = Record<"users" | "sessions" | "events", number>;

/** A UUIDv7 (RFC 9562), as Bunker's keys are: each is inserted at the end of the index. */
const uuidv7 = (sql: postgres.Sql) =>
  sql`(lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid`;

async function copy(sql: postgres.Sql, email: string): Promise<void> {
  await sql`
    insert into users select copied.* from copies, users, jsonb_populate_record(users, jsonb_build_object(
      'id', copies.user_id,
      'email', 'copy-' || number || '@bench.example.org', 'email_key', 'copy-' || number || '@bench.example.org',
      'username', 'copy-' || number, 'username_key', 'copy-' || number)) copied
    where users.email = ${email}`;
  const [session] =
    await sql`select sessions.* from sessions join users on users.id = user_id where email = ${email} limit 1`;
  await sql`
    insert into sessions select copied.* from copies, sessions, jsonb_populate_record(sessions, jsonb_build_object(
      'id', ${uuidv7(sql)}, 'user_id', copies.user_id, 'current_hash', '\\x' || encode(sha256(copies.user_id::text::bytea), 'hex'))) copied
    where sessions.id = ${session?.["id"]}`;
  const columns = await sql`
    select column_name as name from information_schema.columns
    where table_name = 'events' and is_identity = 'NO' order by ordinal_position`;
  const names = sql(columns.map(({ name }) => name as string));
  await sql`
    insert into events (${names}) select ${names} from copies, lateral (select copied.* from events, jsonb_populate_record(events, jsonb_build_object(
      'id', ${uuidv7(sql)}, 'subject_id', copies.user_id, 'actor_id', copies.user_id)) copied
    where events.type in ('user.created', 'session.started') and events.subject_id = ${session?.["user_id"]} limit 2) copied`;
}

async function sizesIn(sql: postgres.Sql): Promise<Record<string, number>> {
  const rows = await sql`
    select relname as name, pg_total_relation_size(oid)::float8 as bytes from pg_class
    where relkind = 'r' and relnamespace = 'public'::regnamespace`;
  return Object.fromEntries(rows.map(({ name, bytes }) => [name, bytes]));
}
