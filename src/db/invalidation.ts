import type postgres from "postgres";
import type { Log } from "../kit/log.ts";
import type { ReceivedSpan } from "../kit/principal-cache.ts";
import { connect, type Place, type Sql } from "./db.ts";

export interface ChangeListenerOptions {
  place: Place;
  /** Sends the heartbeats, on other connections than the one that listens. */
  pool: Sql;
  log: Log;
  /** Called when a user changed. Undefined: any user may have changed. */
  onChange: (userId: string | undefined) => void;
  /** Called when events were committed. */
  onEvents: () => void;
}

const CHANNEL = "bunker_principals";
const EVENTS = "bunker_events";
const ALL = "*";
const HEARTBEAT_EVERY_MS = 200;
/** If a heartbeat does not arrive within this time, the connection is replaced. */
const HEARTBEAT_TIMEOUT_MS = 2_000;
const CONNECT_TIMEOUT_SECONDS = 3;

/**
 * Listens for change notifications about users and sessions (migration 0003) and about events
 * (0022). PostgreSQL delivers them in the order of commits: when a heartbeat arrives, every
 * notification that was committed before it has arrived. Heartbeats are sent on another connection:
 * a pooler that drops notifications drops them too. Works only while `received` is called.
 */
export function listenForChanges(options: ChangeListenerOptions) {
  const { place, pool, log, onChange, onEvents } = options;
  const heartbeats = `bunker_beat_${Bun.randomUUIDv7("hex").replaceAll("-", "")}`;
  const received: ReceivedSpan = { since: Number.POSITIVE_INFINITY, upTo: 0 };
  let listener: Sql | undefined;
  /** When the LISTEN or the heartbeat was sent that is still unanswered. */
  let awaitedSince: number | undefined;
  let heartbeatAt = 0;
  let isSilent = false;
  let isClosed = false;

  const lose = (lost: Sql) => {
    if (listener !== lost) return;
    listener = undefined;
    awaitedSince = undefined;
    received.since = Number.POSITIVE_INFINITY;
    void lost.end({ timeout: 0 }).catch(() => {});
  };

  const receive = (channel: string, payload: string) => {
    if (channel === EVENTS) return onEvents();
    if (channel !== heartbeats) return onChange(payload === ALL ? undefined : payload);
    if (received.since === Number.POSITIVE_INFINITY) received.since = performance.now();
    received.upTo = Number(payload);
    awaitedSince = undefined;
    if (isSilent) log.info({}, "Change notifications arrive again.");
    isSilent = false;
  };

  const listen = async (now: number) => {
    const opened: Sql = connectListener(place, {
      onclose: () => lose(opened),
      onnotify: (channel, payload) => {
        if (listener === opened) receive(channel, payload);
      },
    });
    listener = opened;
    awaitedSince = now;
    try {
      await opened.unsafe(`listen ${CHANNEL}; listen ${EVENTS}; listen ${heartbeats}`);
      if (listener === opened) awaitedSince = undefined;
    } catch {
      lose(opened);
    }
  };

  const sendHeartbeat = async (now: number) => {
    if (listener && awaitedSince !== undefined && now - awaitedSince > HEARTBEAT_TIMEOUT_MS) {
      if (!isSilent) log.warn({}, SILENT);
      isSilent = true;
      lose(listener);
    }
    if (!listener) return listen(now);
    if (awaitedSince !== undefined) return;
    awaitedSince = now;
    await pool`select pg_notify(${heartbeats}, ${String(now)})`;
  };

  return {
    received: (): ReceivedSpan => {
      const now = performance.now();
      if (now - heartbeatAt < HEARTBEAT_EVERY_MS || isClosed) return received;
      heartbeatAt = now;
      // The requests that read from the database report an outage.
      sendHeartbeat(now).catch(() => {});
      return received;
    },
    close: async () => {
      isClosed = true;
      await listener?.end({ timeout: 0 });
    },
  };
}

/** Callbacks of the driver. Its types lack `onnotify`, which gets every notification. */
interface ListenerCallbacks {
  onclose: () => void;
  onnotify: (channel: string, payload: string) => void;
}

const connectListener = (place: Place, callbacks: ListenerCallbacks): Sql =>
  connect(place, {
    max: 1,
    connect_timeout: CONNECT_TIMEOUT_SECONDS,
    max_lifetime: null,
    connection: { application_name: "bunker listener" },
    ...(callbacks as postgres.Options<Record<string, never>>),
  });

const SILENT =
  "Change notifications do not arrive: a pooler such as PgBouncer drops them, or the connection is broken. Until they do, each request reads its user from the database.";
