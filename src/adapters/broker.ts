import { isIP } from "node:net";
import {
  BROKER_CONNECT_MAX_MS,
  BROKER_PUBLISH_MAX_MS,
  type BrokerConnection,
  BrokerFailure,
  type BrokerMessage,
  type BrokerTransport,
} from "../kit/broker.ts";
import { resolveName } from "./resolve-name.ts";

/** Loads the client of BROKER_URL at the first connection. */
export function openBroker(text: string): BrokerTransport {
  const url = new URL(text);
  return url.protocol.startsWith("amqp")
    ? openTransport(async () => connectTo(url, (await import("./amqp.ts")).connectAmqp))
    : openTransport(async () => connectTo(url, (await import("./nats.ts")).connectNats));
}

type Connect = (url: URL, ip: string) => Promise<BrokerConnection>;

/**
 * Tries the IPs of the host in turn. The client libraries would resolve its name in the threads
 * that also hash passwords.
 */
async function connectTo(url: URL, connect: Connect): Promise<BrokerConnection> {
  const host = url.hostname.replaceAll(/[[\]]/g, "");
  const ips = isIP(host) === 0 ? await resolveName(host) : [host];
  let failure: unknown;
  for (const ip of ips.toSorted((a, b) => isIP(a) - isIP(b)))
    try {
      return await connect(url, ip);
    } catch (error) {
      // Later IPs often just refuse, such as ::1 of localhost.
      failure ??= error;
    }
  throw failure ?? Object.assign(new Error(), { code: "ENODATA" });
}

/**
 * Connects at the first publish. Any failure drops the connection, and the next publish opens a new
 * one: after a failure it is unknown which messages the server has.
 */
function openTransport(connect: () => Promise<BrokerConnection>): BrokerTransport {
  let current: BrokerConnection | undefined;

  const drop = () => {
    close(current);
    current = undefined;
  };
  const connection = async () => {
    if (current && !current.isOpen()) drop();
    current ??= await inTime(BROKER_CONNECT_MAX_MS, connect(), close);
    return current;
  };
  return {
    publish: async (messages: BrokerMessage[]) => {
      try {
        const { publish } = await connection();
        return await inTime(BROKER_PUBLISH_MAX_MS, publish(messages));
      } catch (error) {
        // Another connection would be blocked too, once it has sent the same messages again.
        if (!current?.isBlocked()) drop();
        throw new BrokerFailure(reasonOf(error as Failure));
      }
    },
    close: async () => {
      const closing = current;
      current = undefined;
      if (closing) await inTime(BROKER_CONNECT_MAX_MS, closing.close()).catch(() => {});
    },
  };
}

const close = (connection: BrokerConnection | undefined): void =>
  void connection?.close().catch(() => {});

/** Rejects after `ms`. A result that arrives later goes to `discard`. */
function inTime<T>(ms: number, work: Promise<T>, discard?: (late: T) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      reject(Object.assign(new Error(), { code: "ETIMEDOUT" }));
    }, ms);
    work
      .then((result) => (isLate ? discard?.(result) : resolve(result)), reject)
      .finally(() => clearTimeout(timer));
  });
}

interface Failure extends Error {
  code?: unknown;
  cause?: { code?: unknown };
}

/** The code of the socket or of AMQP, such as ACCESS_REFUSED, or the name of an error of NATS. */
function reasonOf({ code, cause, name, message }: Failure): string {
  const [amqp] = /\b[A-Z]{2,}[_-][A-Z_]+\b/.exec(message) ?? [];
  return String(cause?.code ?? amqp ?? code ?? name).replace(/^DNS_/, "");
}
