/** Real message queues, each a process of its own with its own data. */
import { afterAll } from "bun:test";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { connect as dial } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { jetstream } from "@nats-io/jetstream";
import { connect as connectNats, type NatsConnection } from "@nats-io/transport-node";
import { connect as connectAmqp } from "amqplib";
import type { Ctx } from "../../src/ctx.ts";
import { publishEvents } from "../../src/modules/events/relay.ts";
import { needs } from "./needs.ts";
import { emptyFolder, freePort } from "./program.ts";

/** Debian's `rabbitmq-server` in PATH changes the user, and drops the environment. */
const RABBITMQ = ["/usr/lib/rabbitmq/bin/rabbitmq-server", Bun.which("rabbitmq-server") ?? ""].find(
  existsSync,
);

/** A message as a consumer gets it. */
export interface Received {
  id: string;
  key: string;
  contentType: string;
  body: { id: string; type: string; sequence: string; subject?: string; data: object };
}

export interface BrokerServer {
  port: number;
  urlOf: (port: number) => string;
  /** Keeps its data. */
  kill: () => Promise<void>;
  up: () => Promise<void>;
  /** From now on, messages are kept for `received`. */
  subscribe: () => Promise<void>;
  /** Every message so far, in its order. */
  received: () => Promise<Received[]>;
}

/** The scripts of RabbitMQ start the Erlang in PATH. */
const installed = { "rabbitmq-server": RABBITMQ !== undefined, erl: Bun.which("erl") !== null };
const [missing] = Object.entries(installed).find(([, isInstalled]) => !isInstalled) ?? [];
export const hasRabbitMq = missing === undefined;
export const rabbitMqOnly = needs(missing ?? "rabbitmq-server", hasRabbitMq);

export const brokers = [
  {
    name: "RabbitMQ",
    program: "rabbitmq-server",
    usualPort: 5672,
    needs: rabbitMqOnly,
    open: rabbitMq,
  },
  {
    name: "NATS",
    program: "nats-server",
    usualPort: 4222,
    needs: needs("nats-server"),
    open: () => nats(),
  },
];

async function isListening(port: number): Promise<boolean> {
  const socket = dial(port, "127.0.0.1");
  const answer = new Promise<boolean>((done) => {
    socket.once("connect", () => done(true));
    socket.once("error", () => done(false));
  });
  const isUp = await answer;
  socket.destroy();
  return isUp;
}

interface Program {
  port: number;
  words: string[];
  /** RabbitMQ writes a dump into its working directory when it is killed. */
  cwd: string;
  env?: Record<string, string>;
}

const isRunning = ({ exitCode, signalCode }: ChildProcess) =>
  exitCode === null && signalCode === null;

const started = new Set<ChildProcess>();
/** A test that fails stops no server. */
afterAll(() => {
  for (const child of started)
    if (child.pid && isRunning(child)) process.kill(-child.pid, "SIGKILL");
});

function program({ port, words: [name = "", ...args], cwd, env = {} }: Program) {
  let child: ChildProcess | undefined;
  const up = async () => {
    // A group of its own: the script of RabbitMQ starts other processes.
    child = spawn(name, args, {
      stdio: "ignore",
      detached: true,
      cwd,
      env: { PATH: process.env["PATH"] ?? "", ...env },
    });
    started.add(child);
    while (!(await isListening(port))) {
      if (child.exitCode !== null) throw new Error(`${name} exited with ${child.exitCode}`);
      await sleep(50);
    }
  };
  const kill = async () => {
    if (!child?.pid || !isRunning(child)) return;
    const exited = new Promise((done) => child?.once("exit", done));
    process.kill(-child.pid, "SIGKILL");
    await exited;
    while (await isListening(port)) await sleep(20);
  };
  return { port, up, kill };
}

/** Runs the job as an instance does: until there is nothing to do. */
export async function relay(ctx: Ctx, logged = new Set<string>()): Promise<number> {
  let count = 0;
  for (;;) {
    const published = await publishEvents(ctx, logged);
    if (published === 0) return count;
    count += published;
  }
}

const QUEUE = "all-events";

interface RabbitMq extends BrokerServer {
  control: (...words: string[]) => Promise<void>;
}

export async function rabbitMq(): Promise<RabbitMq> {
  const [port, folder] = [await freePort(), emptyFolder()];
  const urlOf = (at: number) => `amqp://guest:guest@127.0.0.1:${at}`;
  const files = { config: join(folder, "rabbitmq.conf"), plugins: join(folder, "plugins") };
  writeFileSync(files.config, `listeners.tcp.default = 127.0.0.1:${port}\n`);
  writeFileSync(files.plugins, "[].\n");
  const env = {
    HOME: folder,
    RABBITMQ_NODENAME: `bunker-${port}@localhost`,
    RABBITMQ_DIST_PORT: String(await freePort()),
    RABBITMQ_CONFIG_FILE: files.config,
    RABBITMQ_ENABLED_PLUGINS_FILE: files.plugins,
    RABBITMQ_CONF_ENV_FILE: "/dev/null",
    RABBITMQ_MNESIA_BASE: join(folder, "data"),
    RABBITMQ_LOG_BASE: join(folder, "log"),
  };
  const server = program({ port, words: [RABBITMQ ?? ""], cwd: folder, env });
  await server.up();
  const work = async <T>(run: (channel: Channel) => Promise<T>): Promise<T> => {
    const connection = await connectAmqp(urlOf(port));
    const result = await run(await connection.createChannel());
    await connection.close();
    return result;
  };
  const taken: Received[] = [];
  const control = promisify(execFile);
  return {
    ...server,
    control: async (...words) => {
      const path = join(dirname(RABBITMQ ?? ""), "rabbitmqctl");
      await control(path, words, { env: { PATH: process.env["PATH"] ?? "", ...env } });
    },
    urlOf,
    subscribe: () =>
      work(async (channel) => {
        await channel.assertExchange("bunker.events", "topic", { durable: true });
        await channel.assertQueue(QUEUE, { durable: true });
        await channel.bindQueue(QUEUE, "bunker.events", "#");
      }),
    received: () =>
      work(async (channel) => {
        for (;;) {
          const message = await channel.get(QUEUE, { noAck: true });
          if (!message) return taken;
          const { messageId, contentType } = message.properties;
          taken.push({
            id: messageId,
            key: message.fields.routingKey,
            contentType,
            body: JSON.parse(message.content.toString()),
          });
        }
      }),
  };
}
type Channel = Awaited<ReturnType<Awaited<ReturnType<typeof connectAmqp>>["createChannel"]>>;

export async function nats(more: string[] = []): Promise<BrokerServer> {
  const [port, folder] = [await freePort(), emptyFolder()];
  const address = ["-a", "127.0.0.1", "-p", String(port)];
  const words = ["nats-server", ...address, "-js", "-sd", folder, ...more];
  const server = program({ port, words, cwd: folder });
  await server.up();
  return {
    ...server,
    urlOf: (at) => `nats://127.0.0.1:${at}`,
    // The stream keeps everything from its first message on.
    subscribe: async () => {},
    received: async () => {
      const connection = await connectNats({ servers: `127.0.0.1:${port}` });
      try {
        return await readStream(connection);
      } catch (error) {
        if ((error as Error).name === "StreamNotFoundError") return [];
        throw error;
      } finally {
        await connection.close();
      }
    },
  };
}

async function readStream(connection: NatsConnection): Promise<Received[]> {
  const consumer = await jetstream(connection).consumers.get("BUNKER_EVENTS");
  const { num_pending: count } = await consumer.info();
  const found: Received[] = [];
  if (count === 0) return found;
  for await (const message of await consumer.consume()) {
    found.push({
      id: message.headers?.get("Nats-Msg-Id") ?? "",
      key: message.subject.replace("bunker.events.", ""),
      contentType: message.headers?.get("Content-Type") ?? "",
      body: message.json(),
    });
    if (message.info.pending === 0) break;
  }
  return found;
}
