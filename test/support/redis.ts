import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { RedisClient } from "bun";
import { freePort } from "./program.ts";

/** Whether this machine has Redis. Its tests are skipped otherwise. */
export const hasRedis = Bun.which("redis-server") !== null;

export interface RedisServer {
  url: string;
  /** Kills it, with all of its data. */
  kill: () => void;
  /** Freezes it: connections stay open without responses. */
  freeze: () => void;
  thaw: () => void;
  up: () => Promise<void>;
  ask: (command: string, ...words: string[]) => Promise<unknown>;
}

/** A real server without data on disk. */
export async function redisServer(): Promise<RedisServer> {
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  let server: ChildProcess;
  const up = async () => {
    server = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", ""], {
      stdio: "ignore",
    });
    while ((await ask("PING").catch(() => "")) !== "PONG") await sleep(20);
  };
  const ask = async (command: string, ...words: string[]) => {
    const client = new RedisClient(url, { autoReconnect: false, enableOfflineQueue: false });
    try {
      await client.connect();
      return await client.send(command, words);
    } finally {
      client.close();
    }
  };
  await up();
  return {
    url,
    kill: () => void server.kill("SIGKILL"),
    freeze: () => void server.kill("SIGSTOP"),
    thaw: () => void server.kill("SIGCONT"),
    up,
    ask,
  };
}
