import { timingSafeEqual } from "node:crypto";
import patched from "postgres";
import published from "postgres-published";
import { secretName } from "../src/credentials/token-key.ts";

/**
 * The baseline: Bun.serve and postgres.js without a framework, validation or additional headers. It
 * checks the same tokens and reads the same rows as Bunker. Settings: PORT, DATABASE_URL,
 * SECRET_KEY, and DRIVER: `published` (postgres.js of npm) or `patched` (with Bunker's patch).
 */
const { PORT, DATABASE_URL, SECRET_KEY, DRIVER } = process.env;
const POOL_SIZE = 10;
const PAGE_SIZE = 100;
const HEADER = Buffer.from(
  JSON.stringify({ alg: "HS256", kid: secretName(SECRET_KEY ?? ""), typ: "at+jwt" }),
).toString("base64url");

interface UserRow {
  id: string;
  is_active: boolean;
}

const postgres = (DRIVER === "patched" ? patched : published) as typeof published;
const sql = postgres(DATABASE_URL ?? "", { max: POOL_SIZE, fetch_types: false });
const key = new TextEncoder().encode(SECRET_KEY);

/** The user of a token. Undefined if the token is not ours or has expired. */
function subjectOf(request: Request): string | undefined {
  const [header, payload = "", signature = ""] = (request.headers.get("authorization") ?? "")
    .slice("Bearer ".length)
    .split(".");
  if (header !== HEADER) return undefined;
  const mac = new Bun.CryptoHasher("sha256", key).update(`${header}.${payload}`).digest();
  const given = Buffer.from(signature, "base64url");
  if (given.length !== mac.length || !timingSafeEqual(given, mac)) return undefined;
  const claims: { sub: string; exp: number } = JSON.parse(
    Buffer.from(payload, "base64url").toString(),
  );
  return claims.exp > Date.now() / 1000 ? claims.sub : undefined;
}

async function me(request: Request): Promise<Response> {
  const id = subjectOf(request);
  if (id === undefined) return new Response(null, { status: 401 });
  const [user] = await sql<UserRow[]>`
    select id, email, username, full_name, is_active, is_superuser, email_verified, locale, created_at, updated_at
    from users where id = ${id}`;
  return user?.is_active ? Response.json(user) : new Response(null, { status: 401 });
}

const readPage = () => sql<UserRow[]>`
  select id, email, username, full_name, is_active, is_superuser, email_verified, locale, created_at, updated_at
  from users order by created_at, id limit ${PAGE_SIZE}`;

const send = (value: unknown) =>
  new Response(JSON.stringify(value), { headers: { "content-type": "application/json" } });

let cached: UserRow[] | undefined;
const cachedPage = async () => {
  cached ??= await readPage();
  return cached;
};

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(PORT),
  development: false,
  routes: {
    "/livez": () => Response.json({ status: "ok" }),
    "/api/v1/users/me": me,
    "/api/v1/users": async () => send(await readPage()),
    "/cached-users": async () => send(await cachedPage()),
  },
});
