import { timingSafeEqual } from "node:crypto";
import { asc, eq, sql } from "drizzle-orm";
import type { PgUpdateSetSource } from "drizzle-orm/pg-core";
import { requireOperator } from "../../access.ts";
import { type ClientCredentials, newClientSecret } from "../../credentials/client-credentials.ts";
import type { Actor, Ctx } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { sha256 } from "../../kit/digest.ts";
import { isId } from "../../kit/id.ts";
import { readLine } from "../../kit/names.ts";
import { accept, Problem } from "../../kit/problem.ts";
import { record } from "../events/events.ts";
import { clients } from "./tables.ts";

/** A confidential OAuth client (RFC 6749, section 2.1): a program with its own secret. */
export interface Client {
  id: string;
  name: string;
  createdAt: Date;
  rotatedAt: Date;
  /** Whether the previous secret is still accepted. */
  isRotating: boolean;
}

type Row = typeof clients.$inferSelect;

/** Returns the secret, which is not shown again. Throws `forbidden`, `invalid_request`. */
export async function createClient(
  ctx: Ctx,
  actor: Actor,
  name: string,
): Promise<{ client: Client; secret: string }> {
  requireOperator(actor);
  const { shown } = accept({ shown: readLine("/name", name, NAME_MAX) });
  const secret = newClientSecret();
  const time = ctx.now();
  const id = Bun.randomUUIDv7("hex", time);
  const row: Row = {
    id,
    name: shown,
    secretHash: sha256(secret),
    previousSecretHash: null,
    createdAt: time,
    rotatedAt: time,
  };
  await transaction(ctx, async (tx) => {
    await tx.db.insert(clients).values(row);
    await record(tx, actor, { type: "client.created", subjectId: id, data: {} });
  });
  return { client: clientOf(row), secret };
}

const NAME_MAX = 100;
/** Oldest first. */
export async function listClients({ db }: Ctx): Promise<Client[]> {
  const rows = await db
    .select()
    .from(clients)
    .orderBy(asc(clients.createdAt), asc(clients.id))
    .limit(LISTED_MAX);
  return rows.map(clientOf);
}

const LISTED_MAX = 1000;

/**
 * Keeps the current secret until `finishRotation`, but no earlier one. Throws `forbidden`,
 * `not_found`.
 */
export async function rotateSecret(ctx: Ctx, actor: Actor, id: string): Promise<string> {
  const secret = newClientSecret();
  await changeClient(ctx, actor, {
    id,
    type: "client.secret_rotated",
    set: {
      secretHash: sha256(secret),
      previousSecretHash: sql`${clients.secretHash}`,
      rotatedAt: ctx.now(),
    },
  });
  return secret;
}

/** Revokes the previous secret, if there is one. Throws `forbidden`, `not_found`. */
export async function finishRotation(ctx: Ctx, actor: Actor, id: string): Promise<void> {
  requireOperator(actor);
  const client = isId(id) ? await findClient(ctx, id) : undefined;
  if (client && !client.isRotating) return;
  const set = { previousSecretHash: null };
  await changeClient(ctx, actor, { id, type: "client.rotation_finished", set });
}

/** Introspection then reports its tokens as inactive. Throws `forbidden`, `not_found`. */
export const deleteClient = (ctx: Ctx, actor: Actor, id: string): Promise<void> =>
  changeClient(ctx, actor, { id, type: "client.deleted", set: undefined });

interface ClientChange {
  id: string;
  type: "client.secret_rotated" | "client.rotation_finished" | "client.deleted";
  /** Undefined deletes the client. */
  set: PgUpdateSetSource<typeof clients> | undefined;
}

async function changeClient(
  ctx: Ctx,
  actor: Actor,
  { id, type, set }: ClientChange,
): Promise<void> {
  requireOperator(actor);
  if (!isId(id)) throw new Problem("not_found", { detail: UNKNOWN });
  await transaction(ctx, async (tx) => {
    const isTarget = eq(clients.id, id);
    const returned = { id: clients.id };
    const found = set
      ? await tx.db.update(clients).set(set).where(isTarget).returning(returned)
      : await tx.db.delete(clients).where(isTarget).returning(returned);
    if (found.length === 0) throw new Problem("not_found", { detail: UNKNOWN });
    await record(tx, actor, { type, subjectId: id, data: {} });
  });
}
const UNKNOWN = "No OAuth client has this ID";

export async function findClient({ db }: Ctx, id: string): Promise<Client | undefined> {
  const [row] = await db.select().from(clients).where(eq(clients.id, id));
  return row && clientOf(row);
}

/** The OAuth client, if the secret is right. During a rotation, two are. */
export async function findAuthenticated(
  { db }: Ctx,
  { id, secret }: ClientCredentials,
): Promise<Client | undefined> {
  const [row] = isId(id) ? await db.select().from(clients).where(eq(clients.id, id)) : [];
  const givenHash = sha256(secret);
  const isCorrect = [row?.secretHash, row?.previousSecretHash].some(
    (hash) => hash && timingSafeEqual(hash, givenHash),
  );
  return row && isCorrect ? clientOf(row) : undefined;
}
const clientOf = ({ id, name, createdAt, rotatedAt, previousSecretHash }: Row): Client => ({
  id,
  name,
  createdAt,
  rotatedAt,
  isRotating: previousSecretHash !== null,
});
