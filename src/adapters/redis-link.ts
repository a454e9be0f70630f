import { RedisClient } from "bun";
import type { Log } from "../kit/log.ts";

export interface LinkOptions {
  url: URL;
  /** Redis counts as unavailable if it does not answer within this time. */
  answerMaxMs: number;
  /** Prepares a new connection. It is used only if this succeeds. */
  begin: (client: RedisClient) => Promise<void>;
  log: Log;
}

export interface Link {
  /** Sends a command. Undefined if Redis is unavailable or does not answer in time. */
  send: (command: string, args: string[]) => Promise<unknown>;
  isUp: () => boolean;
  close: () => void;
}

const CONNECT_MAX_MS = 2_000;
const RETRY_MS = 1_000;
/** This file decides when to reconnect, and what fails until then. */
const settings = {
  autoReconnect: false,
  enableOfflineQueue: false,
  connectionTimeout: CONNECT_MAX_MS,
};

/**
 * Connects to Redis. Retries every second while that fails, and after a connection is lost; logs
 * this once. One command that fails or times out drops the connection, so that no other request
 * waits for it.
 */
export function openLink({ url, answerMaxMs, begin, log }: LinkOptions): Link {
  let link: RedisClient | undefined;
  let isUnavailable = false;
  let isClosed = false;

  /**
   * Refuses a server that is always slow: otherwise it would be connected and dropped again and
   * again.
   */
  const beginIfFast = async (client: RedisClient) => {
    await begin(client);
    await within(client.send("PING", []), answerMaxMs / 2);
  };
  const retry = (error: unknown) => {
    if (isClosed) return;
    if (!isUnavailable) log.warn({ reason: reasonOf(error) }, UNAVAILABLE);
    isUnavailable = true;
    setTimeout(connect, RETRY_MS).unref();
  };
  const lose = (lost: RedisClient, error: unknown) => {
    if (link !== lost) return;
    link = undefined;
    disconnect(lost);
    retry(error);
  };
  const connect = async () => {
    const opened = await dial(url, beginIfFast).catch(retry);
    if (!opened) return;
    if (isClosed) return disconnect(opened);
    link = opened;
    opened.onclose = (error) => lose(opened, error);
    // The connection may have closed before `onclose` was set.
    if (!opened.connected) return lose(opened, GONE);
    if (isUnavailable) log.info({}, "Redis is available again.");
    isUnavailable = false;
  };
  void connect();

  return {
    send: async (command, args) => {
      const used = link;
      if (!used) return undefined;
      try {
        return await within(used.send(command, args), answerMaxMs);
      } catch (error) {
        lose(used, error);
        return undefined;
      }
    },
    isUp: () => link !== undefined,
    close: () => {
      isClosed = true;
      if (link) disconnect(link);
      link = undefined;
    },
  };
}

const UNAVAILABLE =
  "Redis cannot be used (REDIS_URL: does it run, is the password right, does it have free memory?). Until then, the database counts.";

const failure = (code: string) => Object.assign(new Error(code), { code });
const GONE = failure("ECONNRESET");

/**
 * The error code of Redis, such as OOM, or of the socket. Not the message, which may quote a key.
 */
function reasonOf(error: unknown): string {
  const { message = "", code } = error as { message?: string; code?: string };
  return /^[A-Z]{2,}(?= )/.exec(message)?.[0] ?? code ?? "unknown";
}

async function dial(url: URL, begin: LinkOptions["begin"]): Promise<RedisClient> {
  const client = new RedisClient(url.href, settings);
  const open = async () => {
    await client.connect();
    await begin(client);
    return client;
  };
  try {
    return await within(open(), CONNECT_MAX_MS);
  } catch (error) {
    disconnect(client);
    throw error;
  }
}

function disconnect(client: RedisClient): void {
  client.onclose = null;
  client.close();
}

function within<T>(answer: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(failure("ETIMEDOUT")), ms);
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
