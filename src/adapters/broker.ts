import {
  BROKER_CONNECT_MAX_MS,
  BROKER_PUBLISH_MAX_MS,
  type BrokerConnection,
  BrokerFailure,
  type BrokerMessage,
  type BrokerTransport,
} from "../kit/broker.ts";
import { withTimeout } from "../kit/with-timeout.ts";
import { connectToHost } from "./connect.ts";

/** Loads the client of BROKER_URL at the first connection. */
export function openBroker(text: string): BrokerTransport {
  const url = new URL(text);
  return url.protocol.startsWith("amqp")
    ? openTransport(async () => connectTo(url, (await import("./amqp.ts")).connectAmqp))
    : openTransport(async () => connectTo(url, (await import("./nats.ts")).connectNats));
}

type Connect = (url: URL, ip: string) => Promise<BrokerConnection>;

/** The client libraries would resolve the host name in the threads that also hash passwords. */
const connectTo = (url: URL, connect: Connect): Promise<BrokerConnection> =>
  connectToHost(url.hostname.replaceAll(/[[\]]/g, ""), BROKER_CONNECT_MAX_MS, (ip, maxMs) =>
    withTimeout(maxMs, connect(url, ip), close),
  );

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
    current ??= await connect();
    return current;
  };
  return {
    publish: async (messages: BrokerMessage[]) => {
      try {
        const { publish } = await connection();
        return await withTimeout(BROKER_PUBLISH_MAX_MS, publish(messages));
      } catch (error) {
        // Another connection would be blocked too, once it has sent the same messages again.
        if (!current?.isBlocked()) drop();
        throw new BrokerFailure(reasonOf(error as Failure));
      }
    },
    close: async () => {
      const closing = current;
      current = undefined;
      if (closing) await withTimeout(BROKER_CONNECT_MAX_MS, closing.close()).catch(() => {});
    },
  };
}

const close = (connection: BrokerConnection | undefined): void =>
  void connection?.close().catch(() => {});

interface Failure extends Error {
  code?: unknown;
  cause?: { code?: unknown };
}

/** The code of the socket or of AMQP, such as ACCESS_REFUSED, or the name of an error of NATS. */
function reasonOf({ code, cause, name, message }: Failure): string {
  const [amqp] = /\b[A-Z]{2,}[_-][A-Z_]+\b/.exec(message) ?? [];
  return String(cause?.code ?? amqp ?? code ?? name).replace(/^DNS_/, "");
}
