import { and, eq, notInArray } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { mails } from "./tables.ts";

/** Without MAIL_URL, logs each kind of waiting mail once. */
export async function reportWaitingMails(
  { db, log, mail }: Ctx,
  loggedKinds: Set<string>,
): Promise<number> {
  if (mail) return 0;
  const isNew = notInArray(mails.kind, [...loggedKinds]);
  const isWaiting = and(eq(mails.state, "waiting"), loggedKinds.size > 0 ? isNew : undefined);
  const [found] = await db.select({ kind: mails.kind }).from(mails).where(isWaiting).limit(1);
  if (!found) return 0;
  loggedKinds.add(found.kind);
  log.warn({ kind: found.kind }, "MAIL_URL is not set: mails of this kind wait.");
  return 1;
}

export const countWaitingMails = ({ db }: Ctx): Promise<number> =>
  db.$count(mails, eq(mails.state, "waiting"));
