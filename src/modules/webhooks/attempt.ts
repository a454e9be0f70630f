import { randomInt } from "node:crypto";
import { signedHeaders } from "../../credentials/webhook-secret.ts";
import type { Ctx } from "../../ctx.ts";
import { secretsOf } from "./secrets.ts";
import type { Webhook } from "./webhooks.ts";

/** The outcome of one request to a receiver. */
export interface Attempt {
  /** Whether the response had a status of 2xx. */
  isSuccess: boolean;
  /** Null if there was no response. `error` has the reason then. */
  responseStatus: number | null;
  responseBody: string | null;
  error: string | null;
  durationMs: number;
  retryAfterSeconds: number | undefined;
}

/**
 * Sends a message once, signed as Standard Webhooks says. Throws only if `signal` is aborted. The
 * content type is not `application/cloudevents+json`, because common receivers parse only JSON.
 */
export async function attempt(
  ctx: Ctx,
  webhook: Webhook,
  { id, envelope, signal }: { id: string; envelope: object; signal?: AbortSignal },
): Promise<Attempt> {
  const secrets = secretsOf(ctx, webhook);
  if (!secrets) return failed({ error: UNREADABLE, durationMs: 0 });
  const body = JSON.stringify(envelope);
  const headers = {
    ...signedHeaders(secrets, { id, timestamp: ctx.now(), body }),
    "content-type": "application/json",
  };
  const outcome = await ctx.outgoing.post(webhook.url, {
    headers,
    body,
    ...(signal ? { signal } : {}),
  });
  const { durationMs } = outcome;
  if ("failure" in outcome) return failed({ error: outcome.detail, durationMs });
  return {
    isSuccess: outcome.status >= 200 && outcome.status < 300,
    responseStatus: outcome.status,
    responseBody: outcome.body,
    error: null,
    durationMs,
    retryAfterSeconds: outcome.retryAfterSeconds,
  };
}

export const failed = ({ error, durationMs }: { error: string; durationMs: number }): Attempt => ({
  isSuccess: false,
  responseStatus: null,
  responseBody: null,
  error,
  durationMs,
  retryAfterSeconds: undefined,
});
const UNREADABLE =
  "The secret was encrypted with another SECRET_KEY, which SECRET_KEYS does not list. Rotate it.";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;
const WAITS_MS = [
  ...[1, 2, 4, 8, 15, 30].map((seconds) => seconds * SECOND_MS),
  ...[1, 5, 15, 30].map((minutes) => minutes * MINUTE_MS),
  ...[1, 2, 4].map((hours) => hours * HOUR_MS),
];
const RETRY_AFTER_MAX_MS = DAY_MS;
/** Spreads retries by a fifth in both directions. */
const JITTER = [800, 1_201] as const;

/** How long to wait after a failed attempt. `attempts` counts it too. */
export function waitMsAfter(attempts: number, retryAfterSeconds: number | undefined): number {
  const planned = WAITS_MS[Math.min(attempts, WAITS_MS.length) - 1] ?? SECOND_MS;
  const jittered = Math.round((planned * randomInt(...JITTER)) / 1_000);
  const requested = Math.min((retryAfterSeconds ?? 0) * SECOND_MS, RETRY_AFTER_MAX_MS);
  return Math.max(jittered, requested);
}
