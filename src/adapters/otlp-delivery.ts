import { openBackoff } from "../kit/backoff.ts";
import { version } from "../kit/build.ts";
import type { Log } from "../kit/log.ts";
import { within } from "../kit/within.ts";
import { errorType } from "./otlp-span.ts";

const BATCH_MAX_SPANS = 512;
/** Spans beyond this are dropped. */
const QUEUE_MAX_SPANS = 4_096;
const TIMES: Times = { deliverEveryMs: 2_000, retryMaxMs: 30_000 };
/** About three minutes. One batch that always fails must not block the others forever. */
const ATTEMPTS_MAX = 10;
const DELIVERY_MAX_MS = 5_000;
const CLOSE_MAX_MS = 2_000;

interface Times {
  deliverEveryMs: number;
  retryMaxMs: number;
}

interface DeliveryOptions {
  url: URL;
  headers: Record<string, string>;
  /** The attributes of this service, in the JSON of OTLP. */
  resource: object[];
  log: Log;
  times?: Times;
}

/**
 * Delivers by OTLP over HTTP (OpenTelemetry Protocol 1.9), in batches, with retries. Drops a batch
 * that is refused for good. Logs one line when delivery starts to fail, and one when it works
 * again.
 */
export function openDelivery({ times = TIMES, log, ...receiver }: DeliveryOptions) {
  const send = openSender(receiver);
  const queue: string[] = [];
  const closed = new AbortController();
  const report = openReport(log);
  const retries = openBackoff({ minMs: times.deliverEveryMs, maxMs: times.retryMaxMs });
  let isUnavailable = false;
  let attempts = 0;
  let timer: NodeJS.Timeout | undefined;
  let delivering: Promise<void> | undefined;

  const stopTimer = () => {
    clearTimeout(timer);
    timer = undefined;
  };
  const deliverIn = (ms: number) => {
    stopTimer();
    timer = setTimeout(() => {
      timer = undefined;
      void deliver();
    }, ms).unref();
  };
  const deliver = async () => {
    if (queue.length === 0) return;
    delivering ??= deliverBatches().finally(() => {
      delivering = undefined;
    });
    await delivering;
  };
  const deliverBatch = async () => {
    const batch = queue.slice(0, BATCH_MAX_SPANS);
    const refusal = await send(batch, closed.signal);
    if (closed.signal.aborted) return;
    report(refusal);
    isUnavailable = refusal?.isTemporary === true;
    attempts = isUnavailable ? attempts + 1 : 0;
    if (isUnavailable && attempts < ATTEMPTS_MAX) return;
    queue.splice(0, batch.length);
    attempts = 0;
  };
  const deliverBatches = async () => {
    stopTimer();
    do await deliverBatch();
    while (!isUnavailable && queue.length >= BATCH_MAX_SPANS);
    if (!isUnavailable) retries.reset();
    if (queue.length > 0) deliverIn(isUnavailable ? retries.nextMs() : times.deliverEveryMs);
  };
  const drain = async () => {
    await delivering;
    do await deliver();
    while (queue.length > 0 && !isUnavailable);
  };
  return {
    /** Adds a span in the JSON of OTLP. */
    add: (span: string) => {
      if (closed.signal.aborted || queue.length === QUEUE_MAX_SPANS) return;
      queue.push(span);
      if (queue.length >= BATCH_MAX_SPANS && !isUnavailable) void deliver();
      else if (!timer) deliverIn(times.deliverEveryMs);
    },
    /** Delivers the queued spans, for at most two seconds. Ignores spans after that. */
    close: async () => {
      await within(CLOSE_MAX_MS, drain());
      closed.abort();
      stopTimer();
      queue.length = 0;
    },
  };
}

interface Refusal {
  /** The HTTP status, or the code of an error. */
  reason: string;
  /** True if a retry may succeed: 429, 502, 503, 504, or no answer. */
  isTemporary: boolean;
}

const UNAVAILABLE = `Traces cannot be delivered to OTLP_URL; retrying. At most ${QUEUE_MAX_SPANS} spans wait, for a few minutes; others are dropped.`;
const REFUSED =
  "The collector at OTLP_URL refuses traces; they are dropped. For 3xx, 401, 403 or 404, check OTLP_URL and OTLP_HEADERS.";

/** Logs only changes: from working to failing, and back. */
function openReport(log: Log) {
  let before: Refusal | undefined;
  return (refusal: Refusal | undefined) => {
    const isChange = refusal?.isTemporary !== before?.isTemporary;
    before = refusal;
    if (!isChange) return;
    if (refusal) log.warn({ reason: refusal.reason }, refusal.isTemporary ? UNAVAILABLE : REFUSED);
    else log.info({}, "Traces are exported again.");
  };
}

function openSender({ url, headers: given, resource }: Omit<DeliveryOptions, "log" | "times">) {
  const headers = new Headers({ "user-agent": `bunker/${version}`, ...given });
  headers.set("content-type", "application/json");
  const about = JSON.stringify({ attributes: resource });
  const scope = JSON.stringify({ name: "bunker", version });
  return async (spans: string[], closed: AbortSignal): Promise<Refusal | undefined> => {
    const body = `{"resourceSpans":[{"resource":${about},"scopeSpans":[{"scope":${scope},"spans":[${spans.join()}]}]}]}`;
    const signal = AbortSignal.any([closed, AbortSignal.timeout(DELIVERY_MAX_MS)]);
    try {
      const request = { method: "POST", headers, body, redirect: "manual", signal } as const;
      const { ok, status, body: reply } = await fetch(url, request);
      // Only the status matters, not the body.
      reply?.cancel().catch(() => {});
      return ok ? undefined : { reason: String(status), isTemporary: TEMPORARY.includes(status) };
    } catch (error) {
      return { reason: errorType(error), isTemporary: true };
    }
  };
}

const TEMPORARY = [429, 502, 503, 504];
