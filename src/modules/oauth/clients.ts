import { timingSafeEqual } from "node:crypto";
import { asc, eq, sql } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { clients } from "../../db/schema.ts";
import {
  type ClientCredentials,
  hashOfSecret,
  newClientSecret,
} from "../../kit/client-credentials.ts";
import { isId } from "../../kit/id.ts";
import { Problem } from "../../kit/problem.ts";

/** A program with a secret of its own: a confidential client (RFC 6749, section 2.1). */
export interface Client {
  id: string;
  name: string;
  createdAt: Date;
  rotatedAt: Date;
  /** Whether the secret before this one is still good. */
  isRotating: boolean;
}

type Row = typeof clients.$inferSelect;
const NAME_MAX = 100;
const LISTED_MAX = 1000;

const clientOf = ({ id, name, createdAt, rotatedAt, previousSecretHash }: Row): Client => ({
  id,
  name,
  createdAt,
  rotatedAt,
  isRotating: previousSecretHash !== null,
});

/** Makes a client; its secret is shown this once. Throws `invalid_request`. */
export async function createClient(
  { db, now }: Pick<Ctx, "db" | "now">,
  name: string,
): Promise<{ client: Client; secret: string }> {
  const shown = name.trim();
  if (shown === "" || shown.length > NAME_MAX)
    throw new Problem("invalid_request", { detail: `A name needs 1 to ${NAME_MAX} characters` });
  const secret = newClientSecret();
  const time = now();
  const [row] = await db
    .insert(clients)
    .values({
      id: Bun.randomUUIDv7("hex", time),
      name: shown,
      secretHash: hashOfSecret(secret),
      createdAt: time,
      rotatedAt: time,
    })
    .returning();
  return { client: clientOf(row as Row), secret };
}

/** The oldest first. */
export async function listClients({ db }: Pick<Ctx, "db">): Promise<Client[]> {
  const rows = await db
    .select()
    .from(clients)
    .orderBy(asc(clients.createdAt), asc(clients.id))
    .limit(LISTED_MAX);
  return rows.map(clientOf);
}

/** Gives a client another secret; the one that it has goes on until `finishRotation`. Throws `not_found`. */
export async function rotateSecret(
  { db, now }: Pick<Ctx, "db" | "now">,
  id: string,
): Promise<string> {
  const secret = newClientSecret();
  const rotated = isId(id)
    ? await db
        .update(clients)
        .set({
          secretHash: hashOfSecret(secret),
          previousSecretHash: sql`${clients.secretHash}`,
          rotatedAt: now(),
        })
        .where(eq(clients.id, id))
        .returning({ id: clients.id })
    : [];
  if (rotated.length === 0) throw new Problem("not_found", { detail: UNKNOWN });
  return secret;
}

/** Ends the secret before the last one. Throws `not_found`. */
export async function finishRotation({ db }: Pick<Ctx, "db">, id: string): Promise<void> {
  const ended = isId(id)
    ? await db
        .update(clients)
        .set({ previousSecretHash: null })
        .where(eq(clients.id, id))
        .returning({ id: clients.id })
    : [];
  if (ended.length === 0) throw new Problem("not_found", { detail: UNKNOWN });
}

/** Ends a client, its secrets, and what its tokens say at introspection. Throws `not_found`. */
export async function deleteClient({ db }: Pick<Ctx, "db">, id: string): Promise<void> {
  const ended = isId(id)
    ? await db.delete(clients).where(eq(clients.id, id)).returning({ id: clients.id })
    : [];
  if (ended.length === 0) throw new Problem("not_found", { detail: UNKNOWN });
}
const UNKNOWN = "There is no client with that id";

export async function findClient({ db }: Pick<Ctx, "db">, id: string): Promise<Client | undefined> {
  const [row] = await db.select().from(clients).where(eq(clients.id, id));
  return row && clientOf(row);
}

/** The client that these credentials prove, if they do; two secrets are good while one is rotated. */
export async function findAuthenticated(
  { db }: Pick<Ctx, "db">,
  { id, secret }: ClientCredentials,
): Promise<Client | undefined> {
  const [row] = isId(id) ? await db.select().from(clients).where(eq(clients.id, id)) : [];
  const given = hashOfSecret(secret);
  const isRight = [row?.secretHash, row?.previousSecretHash].some(
    (hash) => hash && timingSafeEqual(hash, given),
  );
  return row && isRight ? clientOf(row) : undefined;
}
