import type postgres from "postgres";
import type { Log } from "../kit/log.ts";
import type { Heard } from "../kit/principal-cache.ts";
import { connect, type Place, type Sql } from "./db.ts";

export interface ChangeListenerOptions {
  place: Place;
  /** Sends the beats, on other connections than the one that listens. */
  pool: Sql;
  log: Log;
  /** An account has changed; undefined: any may have. */
  onChange: (userId: string | undefined) => void;
}

export interface ChangeListener {
  heard: () => Heard;
  close: () => Promise<void>;
}

const CHANNEL = "bunker_principals";
const ALL = "*";
const BEAT_EVERY_MS = 200;
/** A beat that did not come back for so long will not: the connection is given up for another one. */
const DEAF_AFTER_MS = 2_000;
const CONNECT_TIMEOUT_SECONDS = 3;

/**
 * Hears from the database which accounts and sessions change (migration 0003), and how far it has heard. PostgreSQL
 * delivers notifications in the order of commits; so when a beat that we sent comes back, everything that was committed
 * before it was sent has been heard. The beat travels on another connection than the one that listens, and comes back
 * unasked: a pooler that swallows notifications, as PgBouncer does, swallows the beats too. Nothing beats or connects while
 * nobody asks.
 */
export function listenForChanges({
  place,
  pool,
  log,
  onChange,
}: ChangeListenerOptions): ChangeListener {
  const beats = `bunker_beat_${Bun.randomUUIDv7("hex").replaceAll("-", "")}`;
  const heard: Heard = { since: Number.POSITIVE_INFINITY, upTo: 0 };
  let listener: Sql | undefined;
  /** Since when an answer is awaited: to LISTEN, or to a beat. */
  let awaitedSince: number | undefined;
  let beatAt = 0;
  let isDeaf = false;
  let isClosed = false;

  const lose = (lost: Sql) => {
    if (listener !== lost) return;
    listener = undefined;
    awaitedSince = undefined;
    heard.since = Number.POSITIVE_INFINITY;
    void lost.end({ timeout: 0 }).catch(() => {});
  };

  const hear = (channel: string, payload: string) => {
    if (channel !== beats) return onChange(payload === ALL ? undefined : payload);
    if (heard.since === Number.POSITIVE_INFINITY) heard.since = performance.now();
    heard.upTo = Number(payload);
    awaitedSince = undefined;
    if (isDeaf) log.info({}, "News of changed accounts arrive again.");
    isDeaf = false;
  };

  const listen = async (now: number) => {
    const mine: Sql = connectListener(place, {
      onclose: () => lose(mine),
      onnotify: (channel, payload) => {
        if (listener === mine) hear(channel, payload);
      },
    });
    listener = mine;
    awaitedSince = now;
    try {
      await mine.unsafe(`listen ${CHANNEL}; listen ${beats}`);
      if (listener === mine) awaitedSince = undefined;
    } catch {
      lose(mine);
    }
  };

  const beat = async (now: number) => {
    if (listener && awaitedSince !== undefined && now - awaitedSince > DEAF_AFTER_MS) {
      if (!isDeaf) log.warn({}, DEAF);
      isDeaf = true;
      lose(listener);
    }
    if (!listener) return listen(now);
    if (awaitedSince !== undefined) return;
    awaitedSince = now;
    await pool`select pg_notify(${beats}, ${String(now)})`;
  };

  return {
    heard: () => {
      const now = performance.now();
      if (now - beatAt < BEAT_EVERY_MS || isClosed) return heard;
      beatAt = now;
      // A database that is away is noticed, and told, by whoever reads from it.
      beat(now).catch(() => {});
      return heard;
    },
    close: async () => {
      isClosed = true;
      await listener?.end({ timeout: 0 });
    },
  };
}

/** The driver hands on every notification that a connection gets, which its types do not say. */
interface Hearing {
  onclose: () => void;
  onnotify: (channel: string, payload: string) => void;
}

const connectListener = (place: Place, hearing: Hearing): Sql =>
  connect(place, {
    max: 1,
    connect_timeout: CONNECT_TIMEOUT_SECONDS,
    max_lifetime: null,
    connection: { application_name: "bunker listener" },
    ...(hearing as postgres.Options<Record<string, never>>),
  });

const DEAF =
  "News of changed accounts do not arrive: a pooler such as PgBouncer swallows them, or the connection is broken. Accounts are read from the database again and again until they do.";
