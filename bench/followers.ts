import { randomUUID } from "node:crypto";
import type { Server } from "./servers.ts";

/** Gets events in one way. Calls `onEvent` with the JSON of each as it arrives. */
export interface Follower {
  stop: () => unknown;
}
export type OnEvent = (envelope: string) => void;

const api = ({ port }: Server, path: string) => `http://127.0.0.1:${port}/api/v1${path}`;

/** Creates a webhook to a receiver in this process, and returns it with its URL. */
export async function followByWebhook(
  server: Server,
  token: string,
  onEvent: OnEvent,
): Promise<Follower & { enable: (isEnabled: boolean) => Promise<void> }> {
  const receiver = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      onEvent(await request.text());
      return new Response();
    },
  });
  const send = async (method: string, path: string, body?: object) => {
    const response = await fetch(api(server, path), {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: body ? JSON.stringify(body) : null,
    });
    if (!response.ok) throw new Error(`${path} returned ${response.status}`);
    return response;
  };
  const url = `http://127.0.0.1:${receiver.port}/`;
  const created = await send("POST", "/webhooks", { url, events: ["*"] });
  const { id } = (await created.json()) as { id: string };
  return {
    enable: async (enabled) => void (await send("PATCH", `/webhooks/${id}`, { enabled })),
    stop: async () => {
      await send("DELETE", `/webhooks/${id}`);
      await receiver.stop(true);
    },
  };
}

export async function followBySse(
  server: Server,
  token: string,
  onEvent: OnEvent,
): Promise<Follower> {
  const aborter = new AbortController();
  const response = await fetch(api(server, "/events/stream"), {
    headers: { authorization: `Bearer ${token}` },
    signal: aborter.signal,
  });
  if (!response.ok || !response.body) throw new Error(`the stream returned ${response.status}`);
  void readLines(response.body, onEvent).catch(() => {});
  return { stop: () => aborter.abort() };
}

async function readLines(body: ReadableStream<Uint8Array>, onEvent: OnEvent): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("data: ")) onEvent(line.slice("data: ".length));
  }
}

export function followByWebSocket(
  { port }: Server,
  token: string,
  onEvent: OnEvent,
): Promise<Follower> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/api/v1/events/ws`, {
    headers: { authorization: `Bearer ${token}` },
  } as unknown as string[]);
  const { promise, resolve, reject } = Promise.withResolvers<Follower>();
  socket.onopen = () => {
    socket.send(JSON.stringify({ type: "subscribe", events: "*" }));
    resolve({ stop: () => socket.close() });
  };
  socket.onmessage = ({ data }) => onEvent(String(data));
  socket.onerror = () => reject(new Error("a WebSocket failed"));
  return promise;
}

export async function followByRabbitMq(url: string, onEvent: OnEvent): Promise<Follower> {
  const { connect } = await import("amqplib");
  const connection = await connect(url);
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  await channel.assertExchange("bunker.events", "topic", { durable: true });
  await channel.bindQueue(queue, "bunker.events", "#");
  await channel.consume(queue, (message) => message && onEvent(message.content.toString()), {
    noAck: true,
  });
  return { stop: () => connection.close() };
}

export async function followByNats(url: string, onEvent: OnEvent): Promise<Follower> {
  const { connect } = await import("@nats-io/transport-node");
  const connection = await connect({ servers: url, name: `bench ${randomUUID()}` });
  connection.subscribe("bunker.events.>", {
    callback: (error, message) => {
      if (!error) onEvent(message.string());
    },
  });
  return { stop: () => connection.close() };
}
