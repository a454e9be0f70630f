import type { Actor, Ctx } from "../../ctx.ts";
import { type Attempt, attempt, failed } from "./attempt.ts";
import { getWebhook } from "./webhooks.ts";

/** Less than the deadline of a request. */
const TEST_MAX_MS = 4_000;

/**
 * Sends a `webhook.test` message now, also if the webhook is disabled, and returns the outcome. It
 * is not an event: no log has it. Throws `forbidden`, `not_found`.
 */
export async function testWebhook(ctx: Ctx, actor: Actor, webhookId: string): Promise<Attempt> {
  const webhook = await getWebhook(ctx, actor, webhookId);
  const time = ctx.now();
  const id = Bun.randomUUIDv7("hex", time);
  const envelope = {
    specversion: "1.0",
    id,
    source: ctx.config.publicUrl,
    type: "webhook.test",
    time: time.toISOString(),
    subject: webhookId,
    datacontenttype: "application/json",
    data: {},
  };
  const signal = AbortSignal.timeout(TEST_MAX_MS);
  return attempt(ctx, webhook, { id, envelope, signal }).catch((error) => {
    if (!signal.aborted) throw error;
    return failed({ error: "The receiver did not answer in time.", durationMs: TEST_MAX_MS });
  });
}
