import type { StreamFilter } from "../../kit/event-streams.ts";
import { type EventType, isEventType } from "../../kit/event-types.ts";
import { parseCursor } from "../events/cursor.ts";

/** What a client may send. */
export type Message = Authenticate | Subscribe;
interface Authenticate {
  type: "authenticate";
  token: string;
}
interface Subscribe extends StreamFilter {
  type: "subscribe";
}

type Fault = "invalid" | "unknown_type";

/** Reads a message, or returns what is wrong with it. */
export function parseMessage(text: string): Message | Fault {
  const { type, ...members } = parseObject(text) ?? {};
  if (type === "authenticate") return readAuthenticate(members);
  if (type === "subscribe") return readSubscribe(members);
  return "invalid";
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function readAuthenticate({ token, ...rest }: Record<string, unknown>): Message | Fault {
  const isValid = typeof token === "string" && Object.keys(rest).length === 0;
  return isValid ? { type: "authenticate", token } : "invalid";
}

function readSubscribe({ events, after, ...rest }: Record<string, unknown>): Message | Fault {
  const cursor = typeof after === "string" ? parseCursor(after) : undefined;
  const isCursor = after === undefined || cursor !== undefined;
  if (!isCursor || Object.keys(rest).length > 0) return "invalid";
  if (events === "*") return { type: "subscribe", after: cursor };
  if (!Array.isArray(events) || events.length === 0) return "invalid";
  const types: EventType[] = events.filter(isKnown);
  if (types.length < events.length) return "unknown_type";
  return { type: "subscribe", after: cursor, types };
}

const isKnown = (type: unknown): type is EventType => typeof type === "string" && isEventType(type);
