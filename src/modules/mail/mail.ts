import {
  and,
  count,
  desc,
  eq,
  getTableColumns,
  gt,
  inArray,
  isNull,
  lt,
  lte,
  ne,
  or,
  sql,
} from "drizzle-orm";
import type { Ctx, User } from "../../ctx.ts";
import { deleteBatch, isInBatch } from "../../db/batch.ts";
import { isId } from "../../kit/id.ts";
import {
  type MailContent,
  type Mailer,
  MailFailure,
  type MailOutcome,
  type RenderedMail,
} from "../../kit/mail.ts";
import { emailKeyOf } from "../../kit/names.ts";
import { Problem } from "../../kit/problem.ts";
import { windowSecondsOf } from "../../limits/policies.ts";
import type { MailKind } from "./render.ts";
import { mails } from "./tables.ts";

type Row = typeof mails.$inferSelect;
/** A mail without its content. */
export type QueuedMail = Omit<Row, "encrypted">;

export interface NewMail extends MailContent {
  kind: MailKind;
  /** `id` is the user's. Null if the mail is about no user, or about one that is being deleted. */
  to: { id: string | null; email: string; locale: string | null };
  /** A known device of the user requested it: other clients cannot use up this quota. */
  isFromKnownDevice?: boolean;
}

/**
 * Queues a mail in the caller's transaction: it is sent after the commit. Returns undefined if the
 * email has received too many mails of this kind (`mail-recipient`). The client is not told
 * (CWE-204).
 */
export async function enqueueMail(
  ctx: Ctx,
  { kind, to, isFromKnownDevice = false, ...content }: NewMail,
): Promise<string | undefined> {
  const now = ctx.now();
  const [otherKey, knownDeviceKey] = recipientKeysOf(ctx, to.email);
  const recipientKey = isFromKnownDevice ? knownDeviceKey : otherKey;
  if (await isOverLimit(ctx, { kind, recipientKey })) return undefined;
  const id = Bun.randomUUIDv7("hex", now);
  await ctx.db.insert(mails).values({
    id,
    kind,
    recipient: to.email,
    recipientKey,
    userId: to.id,
    locale: to.locale,
    traceParent: ctx.tracing.traceParent(),
    encrypted: ctx.mailEncryption.encrypt(id, content),
    dueAt: now,
    createdAt: now,
  });
  return id;
}

/** The keys that count mails to an email: for all other clients, and for known devices. */
function recipientKeysOf({ mailEncryption }: Ctx, email: string): [Buffer, Buffer] {
  const key = emailKeyOf(email) ?? email;
  return [mailEncryption.fingerprint(key), mailEncryption.fingerprint(`known device ${key}`)];
}

/** Counts without a lock, and by kind: a flood of one kind hides no other. */
async function isOverLimit(
  { config, db, now }: Ctx,
  { kind, recipientKey }: { kind: MailKind; recipientKey: Buffer },
): Promise<boolean> {
  if (config.rateLimit === "off") return false;
  const policy = config.limits["mail-recipient"];
  const time = now();
  const ago = (seconds: number) => new Date(time.getTime() - seconds * SECOND_MS);
  const lately = sql<number>`(count(*) filter (where ${gt(mails.createdAt, ago(policy.periodSeconds))}))::int`;
  const [counted] = await db
    .select({ all: count(), lately })
    .from(mails)
    .where(
      and(
        eq(mails.recipientKey, recipientKey),
        eq(mails.kind, kind),
        gt(mails.createdAt, ago(windowSecondsOf(policy))),
        lte(mails.createdAt, time),
      ),
    );
  return counted !== undefined && counted.all >= policy.quota && counted.lately >= policy.refill;
}

/**
 * Erases a deleted user's mails, also those from before the user existed, in the caller's
 * transaction. Rows of sent mails stay without content, because they count.
 */
export async function eraseMails(ctx: Ctx, { id, email }: User): Promise<void> {
  const isAboutNoUser = and(
    isNull(mails.userId),
    inArray(mails.recipientKey, recipientKeysOf(ctx, email)),
    // The last notice to an earlier user with this email is erased once it is sent.
    ne(mails.kind, "account_deleted"),
  );
  const isTheirs = or(eq(mails.userId, id), isAboutNoUser);
  await ctx.db.delete(mails).where(and(isTheirs, eq(mails.state, "waiting")));
  await ctx.db
    .update(mails)
    .set({ recipient: "", locale: null, encrypted: null, answer: null, userId: null })
    .where(isTheirs);
}

const TAKEN_AT_ONCE = 20;
const DELIVERY = { name: "deliver mail", kind: "client" } as const;

/** Tries to send a few due mails. Returns how many; 0 if there is no mail server. */
export async function deliverMails(ctx: Ctx): Promise<number> {
  if (!ctx.mail || !(await isAnyDue(ctx))) return 0;
  const claimed = await claimDue(ctx);
  const outcomes = await Promise.all(
    claimed.map((row) => ctx.tracing.resume(DELIVERY, row.traceParent, () => deliver(ctx, row))),
  );
  const tried = outcomes.filter((outcome) => outcome !== "dropped");
  if (tried.length > 0) logAvailability(ctx, ctx.mail, tried);
  return outcomes.includes("unavailable") ? 0 : claimed.length;
}

/** Logs once when the mail server becomes unavailable, and once when it is back. */
function logAvailability({ log }: Ctx, mailer: Mailer, outcomes: MailOutcome[]): void {
  const isUnavailable = outcomes.includes("unavailable");
  if (isUnavailable && !mailer.isUnavailable)
    log.warn(
      {},
      "The mail server cannot be used; mails wait. See the cause with: bunker mail list",
    );
  if (!isUnavailable && mailer.isUnavailable) log.info({}, "The mail server is available again.");
  mailer.isUnavailable = isUnavailable;
}

const SECOND_MS = 1_000;
const DAY_MS = 86_400 * SECOND_MS;
/** Longer than the longest try: the process that claimed the mail has died. */
const LEASE_MS = 120 * SECOND_MS;

/** Raw SQL, because this query runs every second while there is nothing to do. */
async function isAnyDue({ db, now }: Ctx): Promise<boolean> {
  const due = await db.execute(
    sql`select 1 from mails where state = 'waiting' and due_at <= ${now().toISOString()}::timestamptz limit 1`,
  );
  return due.length > 0;
}

async function claimDue({ db, now }: Ctx): Promise<Row[]> {
  const time = now();
  const due = db
    .select({ id: mails.id })
    .from(mails)
    .where(and(eq(mails.state, "waiting"), lte(mails.dueAt, time)))
    .orderBy(mails.dueAt)
    .limit(TAKEN_AT_ONCE)
    .for("update", { skipLocked: true });
  return db
    .update(mails)
    .set({ tries: sql`${mails.tries} + 1`, dueAt: new Date(time.getTime() + LEASE_MS) })
    .where(isInBatch(mails.id, due))
    .returning();
}

/** Then a mail is dead. It is kept, and an operator can retry it. */
const TRIED_FOR_MS = 3 * DAY_MS;
const WAIT_MIN_MS = 2 * SECOND_MS;
/** Mails go out within a minute of the server's return. A deferred mail backs off to an hour. */
const WAIT_MAX_MS = { unavailable: 60 * SECOND_MS, deferred: 3_600 * SECOND_MS };

async function deliver(ctx: Ctx, row: Row): Promise<MailOutcome> {
  const sent = await send(ctx, row);
  const now = ctx.now();
  const { outcome } = sent;
  const isSent = outcome === "sent";
  const isOld = now.getTime() - row.createdAt.getTime() >= TRIED_FOR_MS;
  const isDead = outcome === "rejected" || outcome === "dropped" || (!isSent && isOld);
  const ended = { state: isDead ? "dead" : "sent", endedAt: now };
  const waitMaxMs = WAIT_MAX_MS[outcome === "unavailable" ? "unavailable" : "deferred"];
  const waitMs = Math.min(WAIT_MIN_MS * 2 ** (row.tries - 1), waitMaxMs);
  // The user is deleted: erase the last row with their email.
  const isLast =
    (isSent || isDead) && row.kind === "account_deleted" && !(isSent && ctx.mail?.isMailbox);
  await ctx.db
    .update(mails)
    .set({
      answer: sent.answer,
      ...(isSent && !ctx.mail?.isMailbox ? { encrypted: null } : {}),
      ...(isLast ? { recipient: "", locale: null, answer: null, encrypted: null } : {}),
      ...(isDead || isSent ? ended : { dueAt: new Date(now.getTime() + waitMs) }),
    })
    .where(and(eq(mails.id, row.id), eq(mails.state, "waiting")));
  ctx.metrics.recordMail(outcome);
  if (isDead) ctx.log.warn({ mail_id: row.id, answer: sent.answer }, "Mail cannot be delivered.");
  return outcome;
}

async function send(
  { mailEncryption, mail, now }: Ctx,
  row: Row,
): Promise<{ outcome: MailOutcome; answer: string }> {
  const content = contentOf(mailEncryption, row);
  if (!mail || !content) return { outcome: "dropped", answer: UNREADABLE };
  if (content.goodUntil && now() >= new Date(content.goodUntil))
    return { outcome: "dropped", answer: EXPIRED };
  try {
    const rendered = await mail.render(row.kind, row.locale, content);
    const messageId = `${row.id}@${mail.from.address.split("@")[1]}`;
    const answer = await mail.send({ ...rendered, messageId, from: mail.from, to: row.recipient });
    return { outcome: "sent", answer };
  } catch (error) {
    if (!(error instanceof MailFailure)) throw error;
    return { outcome: error.kind, answer: error.message };
  }
}

const contentOf = (
  mailEncryption: Ctx["mailEncryption"],
  { id, encrypted }: Row,
): MailContent | undefined =>
  encrypted ? (mailEncryption.decrypt(id, encrypted) as MailContent | undefined) : undefined;
const EXPIRED = "Not sent, because its link had expired";
const UNREADABLE = "It was encrypted with another SECRET_KEY, which SECRET_KEYS does not list";

const LISTED_MAX = 200;
const { encrypted, ...columns } = getTableColumns(mails);

/** The latest mails, newest first. */
export const listMails = ({ db }: Ctx): Promise<QueuedMail[]> =>
  db.select(columns).from(mails).orderBy(desc(mails.createdAt), desc(mails.id)).limit(LISTED_MAX);

/** A mail with its content. Throws `not_found`, also if the content is no longer stored. */
export async function readMail(
  ctx: Ctx,
  id: string,
): Promise<{ queued: QueuedMail; rendered: RenderedMail }> {
  const [row] = isId(id) ? await ctx.db.select().from(mails).where(eq(mails.id, id)) : [];
  const content = row && contentOf(ctx.mailEncryption, row);
  if (!row || !content || !ctx.mail) throw new Problem("not_found");
  return { queued: row, rendered: await ctx.mail.render(row.kind, row.locale, content) };
}

/** The latest mails with their contents, newest first: all, or those to one email. */
export async function readMails(
  ctx: Ctx,
  to: string | undefined,
): Promise<{ queued: QueuedMail; content: MailContent; rendered: RenderedMail }[]> {
  const { db, mailEncryption, mail } = ctx;
  if (!mail) return [];
  const rows = await db
    .select()
    .from(mails)
    .where(to === undefined ? undefined : inArray(mails.recipientKey, recipientKeysOf(ctx, to)))
    .orderBy(desc(mails.createdAt), desc(mails.id))
    .limit(LISTED_MAX);
  const read = rows.map(async (row) => {
    const content = contentOf(mailEncryption, row);
    if (!content) return [];
    return [{ queued: row, content, rendered: await mail.render(row.kind, row.locale, content) }];
  });
  return (await Promise.all(read)).flat();
}

/** Retries a mail that was not sent; without an id, all. Throws `not_found`. */
export async function retryMails({ db, now }: Ctx, id: string | undefined): Promise<number> {
  if (id !== undefined && !isId(id)) throw new Problem("not_found");
  const retried = await db
    .update(mails)
    .set({ state: "waiting", tries: 0, dueAt: now(), endedAt: null })
    .where(and(ne(mails.state, "sent"), id === undefined ? undefined : eq(mails.id, id)))
    .returning({ id: mails.id });
  if (id !== undefined && retried.length === 0) throw new Problem("not_found");
  return retried.length;
}

const KEPT_DAYS = 30;
/** Mails about no user, such as those of unverified registrations. */
const KEPT_DAYS_WITHOUT_USER = 7;

/** Deletes a few old mails: sent, dead, or due for long without a mail server. */
export function purgeMails({ db, now }: Ctx): Promise<number> {
  const isOlderThan = (days: number) => {
    const before = new Date(now().getTime() - days * DAY_MS);
    const isUnsent = and(eq(mails.state, "waiting"), lt(mails.dueAt, before));
    return or(lt(mails.endedAt, before), isUnsent);
  };
  const isWithoutUser = and(isNull(mails.userId), isOlderThan(KEPT_DAYS_WITHOUT_USER));
  return deleteBatch(db, mails.id, or(isOlderThan(KEPT_DAYS), isWithoutUser));
}
