import { version } from "../kit/build.ts";
import type { Log } from "../kit/log.ts";

const BATCH_MAX = 512;
const DELIVER_EVERY_MS = 2_000;
/** What waits beyond this is dropped. */
const QUEUE_MAX = 4_096;
const RETRY_MAX_MS = 30_000;
const DELIVERY_MAX_MS = 5_000;
const CLOSE_MAX_MS = 2_000;

/** Takes spans, and delivers them when there are many, or every two seconds. Nobody waits for it. */
export interface Delivery {
  /** A span as OTLP has it in JSON. */
  add: (span: string) => void;
  /** Delivers what it has, as far as that goes within two seconds. */
  close: () => Promise<void>;
}

interface Receiver {
  url: URL;
  headers: Record<string, string>;
  /** Who sends: attributes, as OTLP has them in JSON. */
  resource: object[];
}

/**
 * By OTLP over HTTP (OpenTelemetry Protocol 1.9). What nobody takes waits and is tried again, ever less often; what is refused
 * for good is dropped. A line of the log says so once, and once that spans are taken again.
 */
export function openDelivery({ log, ...receiver }: Receiver & { log: Log }): Delivery {
  const queue: string[] = [];
  let refusedBefore: Refusal | undefined;
  let retryMs = DELIVER_EVERY_MS;
  let timer: NodeJS.Timeout | undefined;
  let delivering: Promise<void> | undefined;

  const tell = (refusal: Refusal | undefined) => {
    if (refusal && !refusedBefore) log.warn({ reason: refusal.reason }, REFUSED);
    if (!refusal && refusedBefore) log.info({}, "Traces are delivered again.");
    refusedBefore = refusal;
  };
  const deliverIn = (ms: number) => {
    clearTimeout(timer);
    timer = setTimeout(deliver, ms).unref();
  };
  const deliverBatches = async () => {
    clearTimeout(timer);
    timer = undefined;
    do {
      const batch = queue.slice(0, BATCH_MAX);
      const refusal = await post(batch, receiver);
      tell(refusal);
      if (refusal?.isForNow) {
        deliverIn(retryMs);
        retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
        return;
      }
      retryMs = DELIVER_EVERY_MS;
      queue.splice(0, batch.length);
    } while (queue.length >= BATCH_MAX);
    if (queue.length > 0) deliverIn(DELIVER_EVERY_MS);
  };
  const deliver = () => {
    delivering ??= deliverBatches().finally(() => {
      delivering = undefined;
    });
    return delivering;
  };
  const deliverRest = async () => {
    await delivering;
    while (queue.length > 0) {
      await deliver();
      if (refusedBefore?.isForNow) return;
    }
  };
  return {
    add: (span) => {
      if (queue.length < QUEUE_MAX) queue.push(span);
      if (queue.length >= BATCH_MAX && !refusedBefore?.isForNow) void deliver();
      else if (!timer) deliverIn(DELIVER_EVERY_MS);
    },
    close: async () => {
      const late = new Promise((resolve) => setTimeout(resolve, CLOSE_MAX_MS).unref());
      await Promise.race([deliverRest(), late]);
    },
  };
}

const REFUSED = `Traces cannot be delivered to OTLP_URL: they wait until they can, and those beyond ${QUEUE_MAX} spans are dropped.`;

interface Refusal {
  /** A status, or the code of an error. */
  reason: string;
  /** It may be taken another time (429, 502, 503, 504, or nobody there). */
  isForNow: boolean;
}

async function post(
  spans: string[],
  { url, headers, resource }: Receiver,
): Promise<Refusal | undefined> {
  const about = JSON.stringify({ attributes: resource });
  const scope = JSON.stringify({ name: "bunker", version });
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        "user-agent": `bunker/${version}`,
        ...headers,
        "content-type": "application/json",
      },
      body: `{"resourceSpans":[{"resource":${about},"scopeSpans":[{"scope":${scope},"spans":[${spans.join()}]}]}]}`,
      redirect: "manual",
      signal: AbortSignal.timeout(DELIVERY_MAX_MS),
    });
    await response.arrayBuffer();
    if (response.ok) return undefined;
    return { reason: String(response.status), isForNow: FOR_NOW.includes(response.status) };
  } catch (error) {
    const { code, name } = error as NodeJS.ErrnoException;
    return { reason: code ? String(code) : name, isForNow: true };
  }
}

const FOR_NOW = [429, 502, 503, 504];
