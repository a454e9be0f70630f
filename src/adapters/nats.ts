import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import {
  type ConnectionOptions,
  connect,
  headers,
  type NatsConnection,
  RequestError,
} from "@nats-io/transport-node";
import {
  BROKER_CONNECT_MAX_MS,
  BROKER_PUBLISH_MAX_MS,
  BROKER_TOPIC,
  type BrokerConnection,
  type BrokerMessage,
  EVENT_CONTENT_TYPE,
} from "../kit/broker.ts";
import { authority } from "../kit/network.ts";

const PING_EVERY_MS = 10_000;
const NANOSECONDS = 1_000_000;
const DAY_MS = 86_400_000;

/** Created if no stream takes the subjects. An operator may have made another one, and it stays. */
const stream = {
  name: "BUNKER_EVENTS",
  subjects: [`${BROKER_TOPIC}.>`],
  max_age: 30 * DAY_MS * NANOSECONDS,
};

/** NATS with JetStream. The subject of an event is `bunker.events.<type>`. */
export async function connectNats(url: URL, ip: string): Promise<BrokerConnection> {
  const connection = await connect(optionsOf(url, ip));
  const client = jetstream(connection, { timeout: BROKER_PUBLISH_MAX_MS });
  const publishOne = ({ id, type, body }: BrokerMessage) => {
    const meta = headers();
    meta.set("Content-Type", EVENT_CONTENT_TYPE);
    // The server stores an id once within the time of the stream, two minutes by default.
    return client.publish(`${BROKER_TOPIC}.${type}`, body, { msgID: id, headers: meta });
  };
  const publishAll = (messages: BrokerMessage[]) => Promise.all(messages.map(publishOne));
  return {
    isOpen: () => !connection.isClosed(),
    isBlocked: () => false,
    close: async () => connection.close(),
    publish: async (messages) => {
      try {
        await publishAll(messages);
      } catch (error) {
        if (!hasNoStream(error as Error)) throw error;
        // Created only if necessary, because that needs more permissions than publishing.
        await createStream(connection);
        await publishAll(messages);
      }
      return { unroutable: [] };
    },
  };
}

const hasNoStream = ({ cause }: { cause?: unknown }): boolean =>
  cause instanceof RequestError && cause.isNoResponders();

async function createStream(connection: NatsConnection): Promise<void> {
  const { streams } = await jetstreamManager(connection, { timeout: BROKER_CONNECT_MAX_MS });
  await streams.add(stream);
}

/** A user name without a password is a token. */
function optionsOf(url: URL, ip: string): ConnectionOptions {
  // The client passes it on to node:tls, which checks the certificate against the name.
  const tls = { handshakeFirst: false, servername: url.hostname === ip ? "" : url.hostname };
  const [user, pass] = [url.username, url.password].map(decodeURIComponent);
  return {
    servers: authority(ip, Number(url.port || 4222)),
    name: "bunker",
    reconnect: false,
    timeout: BROKER_CONNECT_MAX_MS,
    pingInterval: PING_EVERY_MS,
    maxPingOut: 2,
    // Null: no TLS, also if the server offers it.
    tls: url.protocol === "tls:" ? tls : null,
    ...(user && pass ? { user, pass } : {}),
    ...(user && !pass ? { token: user } : {}),
  };
}
