import { setTimeout as sleep } from "node:timers/promises";
import { openBackoff } from "../kit/backoff.ts";
import { version } from "../kit/build.ts";
import type { Log } from "../kit/log.ts";
import { errorType } from "./otlp-span.ts";

const BATCH_MAX_SPANS = 512;
/** What waits beyond this is dropped. */
const QUEUE_MAX_SPANS = 4_096;
const TIMES: Times = { deliverEveryMs: 2_000, retryMaxMs: 30_000 };
/** Some three minutes. One batch that nobody can take must not keep the others for ever. */
const TRIES_MAX = 10;
const DELIVERY_MAX_MS = 5_000;
const CLOSE_MAX_MS = 2_000;

/** Takes spans, and delivers them when there are many, or every two seconds. Nobody waits for it. */
export interface Delivery {
  /** A span as OTLP has it in JSON. */
  add: (span: string) => void;
  /** Delivers what it has, as far as that goes within two seconds, and takes nothing any more. */
  close: () => Promise<void>;
}

interface Times {
  deliverEveryMs: number;
  retryMaxMs: number;
}

interface DeliveryOptions {
  url: URL;
  headers: Record<string, string>;
  /** Who sends: attributes, as OTLP has them in JSON. */
  resource: object[];
  log: Log;
  times?: Times;
}

/**
 * By OTLP over HTTP (OpenTelemetry Protocol 1.9). What nobody takes waits and is tried again, ever less often, ten times; what is
 * refused for good is dropped. A line of the log says so once, and once that spans are taken again.
 */
export function openDelivery({ times = TIMES, log, ...receiver }: DeliveryOptions): Delivery {
  const send = openSender(receiver);
  const queue: string[] = [];
  const closed = new AbortController();
  const tell = openReport(log);
  const retries = openBackoff({ minMs: times.deliverEveryMs, maxMs: times.retryMaxMs });
  let isAway = false;
  let tries = 0;
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
    tell(refusal);
    isAway = refusal?.isForNow === true;
    tries = isAway ? tries + 1 : 0;
    if (isAway && tries < TRIES_MAX) return;
    queue.splice(0, batch.length);
    tries = 0;
  };
  const deliverBatches = async () => {
    stopTimer();
    do await deliverBatch();
    while (!isAway && queue.length >= BATCH_MAX_SPANS);
    if (!isAway) retries.reset();
    if (queue.length > 0) deliverIn(isAway ? retries.nextMs() : times.deliverEveryMs);
  };
  const deliverRest = async () => {
    await delivering;
    do await deliver();
    while (queue.length > 0 && !isAway);
  };
  return {
    add: (span) => {
      if (closed.signal.aborted || queue.length === QUEUE_MAX_SPANS) return;
      queue.push(span);
      if (queue.length >= BATCH_MAX_SPANS && !isAway) void deliver();
      else if (!timer) deliverIn(times.deliverEveryMs);
    },
    close: async () => {
      const late = sleep(CLOSE_MAX_MS, undefined, { ref: false });
      await Promise.race([deliverRest(), late]);
      closed.abort();
      stopTimer();
      queue.length = 0;
    },
  };
}

interface Refusal {
  /** A status, or the code of an error. */
  reason: string;
  /** It may be taken another time (429, 502, 503, 504, or nobody there). */
  isForNow: boolean;
}

const AWAY = `Traces cannot be delivered to OTLP_URL: they wait, ${QUEUE_MAX_SPANS} spans at most, for some minutes; what is beyond that is dropped.`;
const REFUSED =
  "Traces are refused by OTLP_URL, and dropped. Where the reason is 3xx, 401, 403 or 404, look at the address and at OTLP_HEADERS.";

/** Says what has changed. */
function openReport(log: Log) {
  let before: Refusal | undefined;
  return (refusal: Refusal | undefined) => {
    const isNews = refusal?.isForNow !== before?.isForNow;
    before = refusal;
    if (!isNews) return;
    if (refusal) log.warn({ reason: refusal.reason }, refusal.isForNow ? AWAY : REFUSED);
    else log.info({}, "Traces are delivered again.");
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
      const { ok, status, body: answer } = await fetch(url, request);
      // What it answers beside its status is not read, and whether that goes well is no matter.
      answer?.cancel().catch(() => {});
      return ok ? undefined : { reason: String(status), isForNow: FOR_NOW.includes(status) };
    } catch (error) {
      return { reason: errorType(error), isForNow: true };
    }
  };
}

const FOR_NOW = [429, 502, 503, 504];
