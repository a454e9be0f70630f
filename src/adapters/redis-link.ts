import { RedisClient } from "bun";
import type { Log } from "../kit/log.ts";

export interface LinkOptions {
  url: URL;
  /** Whoever does not answer within this is away: the others do without it. */
  answerMaxMs: number;
  /** What must work before it is used. */
  begin: (clients: Clients) => Promise<void>;
  log: Log;
}

/** Two connections: one asks, and one hears. */
export interface Clients {
  asks: RedisClient;
  hears: RedisClient;
}

export interface Link {
  /** Undefined: nobody answered in time, or there is nobody. */
  ask: (command: string, words: string[]) => Promise<unknown>;
  isUp: () => boolean;
  close: () => void;
}

const CONNECT_MAX_MS = 2_000;
const RETRY_MS = 1_000;
/** When to connect again, and what fails meanwhile, is decided here. */
const settings = {
  autoReconnect: false,
  enableOfflineQueue: false,
  connectionTimeout: CONNECT_MAX_MS,
};

/**
 * Connects, and again each second while that fails or what was connected is lost; says so once. One command that fails or is late
 * makes it lost: then nobody waits for the next one.
 */
export function openLink({ url, answerMaxMs, begin, log }: LinkOptions): Link {
  let link: Clients | undefined;
  let isAway = false;
  let isClosed = false;

  /** One that is always late is none: it would be taken and lost again and again. */
  const beginQuickly = async (clients: Clients) => {
    await begin(clients);
    await within(clients.asks.send("PING", []), answerMaxMs / 2);
  };
  const retry = (error: unknown) => {
    if (isClosed) return;
    if (!isAway) log.warn({ reason: reasonOf(error) }, AWAY);
    isAway = true;
    setTimeout(connect, RETRY_MS).unref();
  };
  const lose = (lost: Clients, error: unknown) => {
    if (link !== lost) return;
    link = undefined;
    hangUp(lost);
    retry(error);
  };
  const connect = async () => {
    const mine = await dial(url, beginQuickly).catch(retry);
    if (!mine) return;
    if (isClosed) return hangUp(mine);
    link = mine;
    for (const client of [mine.asks, mine.hears]) client.onclose = (error) => lose(mine, error);
    // It may have gone before anybody listened for that.
    if (!mine.asks.connected || !mine.hears.connected) return lose(mine, GONE);
    if (isAway) log.info({}, "Redis can be used again.");
    isAway = false;
  };
  void connect();

  return {
    ask: async (command, words) => {
      const asked = link;
      if (!asked) return undefined;
      try {
        return await within(asked.asks.send(command, words), answerMaxMs);
      } catch (error) {
        lose(asked, error);
        return undefined;
      }
    },
    isUp: () => link !== undefined,
    close: () => {
      isClosed = true;
      if (link) hangUp(link);
      link = undefined;
    },
  };
}

const AWAY =
  "Redis cannot be used (REDIS_URL: does it run, is the password right, has it memory left?): until it can, all is counted in the database.";

const failure = (code: string) => Object.assign(new Error(code), { code });
const GONE = failure("ECONNRESET");

/** Redis' own word, such as OOM, or a code; not the rest of what it says, which may quote a key. */
function reasonOf(error: unknown): string {
  const { message = "", code } = error as { message?: string; code?: string };
  return /^[A-Z]{2,}(?= )/.exec(message)?.[0] ?? code ?? "unknown";
}

async function dial(url: URL, begin: LinkOptions["begin"]): Promise<Clients> {
  const clients = {
    asks: new RedisClient(url.href, settings),
    hears: new RedisClient(url.href, settings),
  };
  const open = async () => {
    await Promise.all([clients.asks.connect(), clients.hears.connect()]);
    await begin(clients);
    return clients;
  };
  try {
    return await within(open(), CONNECT_MAX_MS);
  } catch (error) {
    hangUp(clients);
    throw error;
  }
}

function hangUp({ asks, hears }: Clients): void {
  for (const client of [asks, hears]) {
    client.onclose = null;
    client.close();
  }
}

function within<T>(answer: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(failure("ETIMEDOUT")), ms);
    answer.then(resolve, reject).finally(() => clearTimeout(late));
  });
}
