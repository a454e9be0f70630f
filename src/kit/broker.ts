import { randomBytes } from "node:crypto";
import { openBackoff } from "./backoff.ts";

/** An event, as a message queue gets it. */
export interface BrokerMessage {
  /** The id of the event: consumers recognize duplicates by it. */
  id: string;
  type: string;
  time: Date;
  /** The envelope as JSON (CloudEvents 1.0). */
  body: string;
}

export interface BrokerTransport {
  /**
   * Publishes in this order, one call at a time. Resolves when the server has accepted every
   * message, and throws a BrokerFailure otherwise: then it may have some of them. `unroutable`
   * messages were accepted, but no queue is bound for them. Connects if necessary; any failure
   * closes the connection.
   */
  publish: (messages: BrokerMessage[]) => Promise<{ unroutable: BrokerMessage[] }>;
  close: () => Promise<void>;
}

/** One connection. Its errors are those of the client library. */
export interface BrokerConnection extends BrokerTransport {
  isOpen: () => boolean;
  /** True while the server reads nothing from this connection, and says so. */
  isBlocked: () => boolean;
}

export const BROKER_CONNECT_MAX_MS = 5_000;
export const BROKER_PUBLISH_MAX_MS = 10_000;
/** The name of the RabbitMQ exchange, and the beginning of each NATS subject. */
export const BROKER_TOPIC = "bunker.events";
export const EVENT_CONTENT_TYPE = "application/cloudevents+json";

/** `reason` is a code or a name: the text of an error may quote the URL. */
export class BrokerFailure extends Error {
  readonly reason: string;

  constructor(reason: string) {
    super(`The message queue cannot be used (${reason}).`);
    this.name = "BrokerFailure";
    this.reason = reason;
  }
}

/** The message queue of one instance, with the state of its relay (`modules/events/relay`). */
export interface Broker extends BrokerTransport {
  /** The name of this instance as the holder of the lease. */
  holder: string;
  /** Undefined before the first connection. */
  isUnavailable: boolean | undefined;
  /** The relay pauses until then, by `performance.now()`. */
  pausedUntil: number;
  retries: ReturnType<typeof openBackoff>;
  /** Where the relay goes on while it holds the lease, and when it must renew that. */
  lease: { transactionId: string; position: bigint; renewAt: number } | undefined;
}

/** A pause also delays a takeover, which must not take five seconds. */
const RETRIES = { minMs: 500, maxMs: 3_000 };

/** `place`: host and process, for people who read who has the lease. */
export const brokerOf = (transport: BrokerTransport, place: string): Broker => ({
  ...transport,
  // A reload opens another instance in the same process.
  holder: `${place}/${randomBytes(4).toString("hex")}`,
  isUnavailable: undefined,
  pausedUntil: 0,
  retries: openBackoff(RETRIES),
  lease: undefined,
});

/** The outcome of publishing one event. */
export type BrokerOutcome = "published" | "unroutable" | "failed";
