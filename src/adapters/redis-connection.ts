import { RedisClient } from "bun";
import type { Log } from "../kit/log.ts";
import { withTimeout } from "../kit/with-timeout.ts";

export interface RedisConnectionOptions {
  url: URL;
  /** Redis counts as unavailable if it does not reply within this time. */
  replyMaxMs: number;
  /** Connects with the first command, which waits for the connection. */
  isOnDemand: boolean;
  /** Prepares a new connection. It is used only if this succeeds. */
  prepare: (client: RedisClient) => Promise<void>;
  log: Log;
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
 * Retries every second while Redis is unavailable; logs this once. A command that fails or times
 * out drops the connection, so that no other request waits for it.
 */
export function openRedisConnection({
  url,
  replyMaxMs,
  isOnDemand,
  prepare,
  log,
}: RedisConnectionOptions) {
  let current: RedisClient | undefined;
  let isUnavailable = false;
  let isClosed = false;

  /** Refuses a server that is always slow: otherwise it would be connected and dropped forever. */
  const prepareIfFast = async (client: RedisClient) => {
    await prepare(client);
    await withTimeout(replyMaxMs / 2, client.send("PING", []));
  };
  const retry = (error: unknown) => {
    if (isClosed) return;
    if (!isUnavailable) log.warn({ reason: reasonOf(error) }, UNAVAILABLE);
    isUnavailable = true;
    setTimeout(connect, RETRY_MS).unref();
  };
  const drop = (client: RedisClient, error: unknown) => {
    if (current !== client) return;
    current = undefined;
    disconnect(client);
    retry(error);
  };
  const connect = async () => {
    const client = await connectTo(url, prepareIfFast).catch(retry);
    if (!client) return;
    if (isClosed) return disconnect(client);
    current = client;
    client.onclose = (error) => drop(client, error);
    // The connection may have closed before `onclose` was set.
    if (!client.connected) return drop(client, failure("ECONNRESET"));
    if (isUnavailable) log.info({}, "Redis is available again.");
    isUnavailable = false;
  };
  let connecting = isOnDemand ? undefined : connect();

  return {
    /** Sends a command. Undefined if Redis is unavailable or does not reply in time. */
    send: async (command: string, args: string[]): Promise<unknown> => {
      connecting ??= connect();
      if (isOnDemand) await connecting;
      const client = current;
      if (!client) return undefined;
      try {
        return await withTimeout(replyMaxMs, client.send(command, args));
      } catch (error) {
        drop(client, error);
        return undefined;
      }
    },
    // Before its first command, a connection on demand counts as available.
    isUp: () => current !== undefined || !connecting,
    close: () => {
      isClosed = true;
      if (current) disconnect(current);
      current = undefined;
    },
  };
}

const UNAVAILABLE =
  "Redis cannot be used; PostgreSQL does its work. Check REDIS_URL, the password, and the free memory of Redis.";

const failure = (code: string) => Object.assign(new Error(code), { code });

/** The error code of Redis, such as OOM, or of the socket. A message may quote a key. */
function reasonOf(error: unknown): string {
  const { message = "", code } = error as { message?: string; code?: string };
  return /^[A-Z]{2,}(?= )/.exec(message)?.[0] ?? code ?? "unknown";
}

async function connectTo(
  url: URL,
  prepare: RedisConnectionOptions["prepare"],
): Promise<RedisClient> {
  const client = new RedisClient(url.href, settings);
  const open = async () => {
    await client.connect();
    await prepare(client);
    return client;
  };
  try {
    return await withTimeout(CONNECT_MAX_MS, open());
  } catch (error) {
    disconnect(client);
    throw error;
  }
}

function disconnect(client: RedisClient): void {
  client.onclose = null;
  client.close();
}
