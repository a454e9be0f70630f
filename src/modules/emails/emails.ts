import { and, eq, ne, not } from "drizzle-orm";
import type { Actor, Ctx } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import type { Name } from "../../kit/names.ts";
import { record } from "../events/events.ts";
import { users } from "../users/tables.ts";
import { clearFailures } from "../users/users.ts";

/** In the caller's transaction. */
export async function markVerified(ctx: Ctx, actor: Actor, id: string): Promise<void> {
  const [changed] = await ctx.db
    .update(users)
    .set({ emailVerified: true, updatedAt: ctx.now() })
    .where(and(eq(users.id, id), not(users.emailVerified)))
    .returning({ email: users.email, username: users.username });
  if (!changed) return;
  await record(ctx, actor, { type: "email.verified", subjectId: id, data: {} });
  // Earlier guesses at these names must not lock the user out.
  await clearFailures(ctx, changed);
}

/**
 * In the caller's transaction. A user who has the email but never verified it loses it: registering
 * must not block the owner of an email. Throws `email_taken`.
 */
export async function changeEmail(
  ctx: Ctx,
  actor: Actor,
  { id, email, type }: { id: string; email: Name; type: "email.changed" | "email.restored" },
): Promise<void> {
  const { shown, key } = email;
  const isUnverifiedDuplicate = and(
    eq(users.emailKey, key),
    not(users.emailVerified),
    ne(users.id, id),
  );
  // Cannot be registered: it is random, and `.invalid` is refused (RFC 2606).
  const placeholder = `user-${crypto.randomUUID()}@displaced.invalid`;
  const displaced = await ctx.db
    .update(users)
    .set({ email: placeholder, emailKey: placeholder, updatedAt: ctx.now() })
    .where(isUnverifiedDuplicate)
    .returning({ id: users.id });
  // Without an origin: the displaced user must not learn who verified the email.
  for (const { id: subjectId } of displaced)
    await record(ctx, { kind: "anonymous" }, { type: "email.changed", subjectId, data: {} });
  const set = { email: shown, emailKey: key, emailVerified: false, updatedAt: ctx.now() };
  await transaction(ctx, (tx) => tx.db.update(users).set(set).where(eq(users.id, id)));
  await record(ctx, actor, { type, subjectId: id, data: {} });
}
