import type { Config } from "../../config/config.ts";
import { eventDefinitions } from "../../kit/event-types.ts";
import { formatCursor } from "./cursor.ts";
import type { Event } from "./events.ts";

/** An event as every consumer gets it: CloudEvents 1.0, in the JSON format of that standard. */
export interface Envelope {
  specversion: "1.0";
  /** The same everywhere and in every repetition. */
  id: string;
  /** PUBLIC_URL. */
  source: string;
  type: Event["type"];
  time: string;
  /** What the event is about. Left out if it is about nothing in particular. */
  subject?: string;
  datacontenttype: "application/json";
  /** The version of the schema of `data`. */
  dataversion: number;
  /** A cursor: the place of the event in the order of all events. */
  sequence: string;
  data: EnvelopeData;
}

/** Who caused the event and from where, and the fields of its type. */
interface EnvelopeData extends Record<string, unknown> {
  actor: { kind: Event["actorKind"]; id: string | null };
  ip: string | null;
  user_agent: string | null;
  request_id: string | null;
}

export const envelopeOf = ({ publicUrl }: Pick<Config, "publicUrl">, event: Event): Envelope => ({
  specversion: "1.0",
  id: event.id,
  source: publicUrl,
  type: event.type,
  time: event.occurredAt.toISOString(),
  ...(event.subjectId === null ? {} : { subject: event.subjectId }),
  datacontenttype: "application/json",
  dataversion: eventDefinitions[event.type]?.version ?? 1,
  sequence: formatCursor(event.cursor),
  data: {
    ...(event.data as Record<string, unknown>),
    actor: { kind: event.actorKind, id: event.actorId },
    ip: event.ip,
    user_agent: event.userAgent,
    request_id: event.requestId,
  },
});
