import { and, eq, sql } from "drizzle-orm";
import type { Actor, Ctx } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { accept, fieldProblem } from "../../kit/problem.ts";
import { type EventCursor, formatCursor, parseCursor } from "../events/cursor.ts";
import { record } from "../events/events.ts";
import { readEvents, requireReadable } from "../events/feed.ts";
import { webhooks } from "./tables.ts";
import { getWebhook } from "./webhooks.ts";

/** Either a cursor, or a time. */
export interface ReplayStart {
  after?: string | undefined;
  since?: Date | undefined;
}

/**
 * Sends the events after a cursor, or since a time, again, with the same ids. Returns the cursor.
 * Throws `forbidden`, `not_found`, `invalid_request`, also if events would be skipped, and
 * `cursor_expired`.
 */
export async function replay(
  ctx: Ctx,
  actor: Actor,
  { id, ...start }: ReplayStart & { id: string },
): Promise<string> {
  await getWebhook(ctx, actor, id);
  const cursor = await startOf(ctx, start);
  const after = formatCursor(cursor);
  await transaction(ctx, async (tx) => {
    // Refused in the same statement: another replay may move the cursor too.
    const moved = await tx.db
      .update(webhooks)
      .set(cursor)
      .where(and(eq(webhooks.id, id), isNotBefore(cursor)))
      .returning({ id: webhooks.id });
    if (moved.length === 0) refuse(start);
    await record(tx, actor, { type: "webhook.replayed", subjectId: id, data: { after } });
  });
  return after;
}

const isNotBefore = ({ transactionId, position }: EventCursor) =>
  sql`(${webhooks.transactionId}, ${webhooks.position}) >= (${transactionId}::xid8, ${position.toString()}::bigint)`;

function refuse({ after }: ReplayStart): void {
  const pointer = after === undefined ? "/since" : "/after";
  const detail = "is later than the next event of the webhook, so events would be skipped";
  accept({ cursor: fieldProblem(pointer, "out_of_range", detail) });
}

async function startOf(ctx: Ctx, { after, since }: ReplayStart): Promise<EventCursor> {
  const given = accept({
    after:
      after === undefined
        ? undefined
        : (parseCursor(after) ?? fieldProblem("/after", "wrong_format")),
    since:
      after !== undefined && since !== undefined
        ? fieldProblem("/since", "not_allowed", BOTH)
        : since,
    one:
      after === undefined && since === undefined ? fieldProblem("/after", "missing", NONE) : null,
  });
  if (given.after) {
    await requireReadable(ctx, given.after);
    return given.after;
  }
  const { events, end } = await readEvents(ctx, { since: given.since, limit: 1 });
  const [first] = events;
  if (!first) return end;
  return { ...first.cursor, position: first.cursor.position - 1n };
}
const BOTH = "cannot be sent together with after";
const NONE = "is missing, and since too: one of them is required";
