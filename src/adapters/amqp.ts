import { type ChannelModel, type ConfirmChannel, connect } from "amqplib";
import {
  BROKER_CONNECT_MAX_MS,
  BROKER_TOPIC,
  type BrokerConnection,
  type BrokerMessage,
  EVENT_CONTENT_TYPE,
} from "../kit/broker.ts";

/** A server that is silent for two of them is gone. */
const HEARTBEAT_SECONDS = 10;

/** RabbitMQ, or another server of AMQP 0-9-1: publishes to a durable topic exchange. */
export async function connectAmqp(url: URL, ip: string): Promise<BrokerConnection> {
  const connection = await connect(placeOf(url, ip), {
    // The certificate is checked against the name.
    ...(url.hostname !== ip ? { servername: url.hostname } : {}),
    timeout: BROKER_CONNECT_MAX_MS,
    noDelay: true,
    clientProperties: { connection_name: "bunker" },
  });
  try {
    return await openChannel(connection);
  } catch (error) {
    void connection.close().catch(() => {});
    throw error;
  }
}

const placeOf = (url: URL, hostname: string) => ({
  protocol: url.protocol.slice(0, -1),
  hostname,
  ...(url.port === "" ? {} : { port: Number(url.port) }),
  ...(url.username === "" && url.password === ""
    ? {}
    : {
        username: decodeURIComponent(url.username),
        password: decodeURIComponent(url.password),
      }),
  vhost: url.pathname.slice(1),
  heartbeat: HEARTBEAT_SECONDS,
});

/** RabbitMQ is short of memory or disk space. */
const blocked = () => Object.assign(new Error(), { code: "BLOCKED" });

async function openChannel(connection: ChannelModel): Promise<BrokerConnection> {
  let failure: Error | undefined;
  const fail = (error?: Error) => {
    failure ??= error ?? new Error("The connection was closed.");
  };
  let isBlocked = false;
  let endPublish = (_error: Error) => {};
  connection.on("blocked", () => {
    isBlocked = true;
    endPublish(blocked());
  });
  connection.on("unblocked", () => {
    isBlocked = false;
  });
  connection.on("error", fail);
  connection.on("close", fail);
  const channel = await connection.createConfirmChannel();
  channel.on("error", fail);
  channel.on("close", fail);
  const returned = new Set<string>();
  // The server returns a message before it confirms it.
  channel.on("return", ({ properties }) => returned.add(properties.messageId));
  await channel.assertExchange(BROKER_TOPIC, "topic", { durable: true });
  return {
    isOpen: () => failure === undefined,
    isBlocked: () => isBlocked && failure === undefined,
    close: async () => connection.close(),
    publish: async (messages) => {
      if (isBlocked) throw blocked();
      returned.clear();
      const blocking = new Promise<never>((_, reject) => {
        endPublish = reject;
      });
      await Promise.race([publishAll(channel, messages), blocking]);
      return { unroutable: messages.filter(({ id }) => returned.has(id)) };
    },
  };
}

const publishAll = (channel: ConfirmChannel, messages: BrokerMessage[]) =>
  Promise.all(messages.map((message) => publishOne(channel, message)));

const publishOne = (channel: ConfirmChannel, { id, type, time, body }: BrokerMessage) =>
  new Promise<void>((resolve, reject) => {
    const properties = {
      persistent: true,
      mandatory: true,
      messageId: id,
      type,
      // AMQP counts seconds.
      timestamp: Math.floor(time.getTime() / 1000),
      contentType: EVENT_CONTENT_TYPE,
      appId: "bunker",
    };
    channel.publish(BROKER_TOPIC, type, Buffer.from(body), properties, (error) =>
      error ? reject(error) : resolve(),
    );
  });
