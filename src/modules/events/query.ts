import { t } from "elysia";
import { pathOf } from "../../http/host.ts";
import { PageQuery, readLimit } from "../../http/pagination.ts";
import { repeatedIn } from "../../http/query.ts";
import { readBy } from "../../http/readers.ts";
import type { RequestParts } from "../../http/request-context.ts";
import { type EventType, isEventType } from "../../kit/event-types.ts";
import { isId } from "../../kit/id.ts";
import { accept, type FieldProblem, fieldProblem } from "../../kit/problem.ts";
import { parseTime } from "../../kit/time.ts";
import { type EventCursor, formatCursor, parseCursor } from "./cursor.ts";
import type { Event } from "./events.ts";
import type { EventPage, EventRange } from "./feed.ts";

const CURSOR_LENGTH = 32;
const TYPES_MAX_LENGTH = 2_000;

const after = t.Optional(
  t.String({
    minLength: CURSOR_LENGTH,
    maxLength: CURSOR_LENGTH,
    ...readBy(readAfter),
    description:
      "A cursor: the `sequence` of the last event that you have. Only later events are returned.",
  }),
);

/** The query parameters of a list of all events. */
export const EventQuery = t.Object(
  {
    after,
    limit: PageQuery.properties.limit,
    type: t.Optional(
      t.String({
        minLength: 1,
        maxLength: TYPES_MAX_LENGTH,
        ...readBy(readTypes),
        description:
          "Only events of these types, separated by commas: `user.created,user.deleted`.",
      }),
    ),
    subject: t.Optional(
      t.String({
        ...readBy(readSubject),
        description: "Only events about this user, or other subject.",
      }),
    ),
    since: t.Optional(
      t.String({
        ...readBy((value) => readTime("/query/since", value)),
        description: "Only events of this time (RFC 3339) or later: `2026-01-31T00:00:00Z`.",
      }),
    ),
  },
  { additionalProperties: false },
);

/** The query parameters of a list of the caller's events: newest first, or after a cursor. */
export const OwnEventQuery = t.Object(
  { ...PageQuery.properties, after },
  { additionalProperties: false },
);

interface Exchange<Query> extends Pick<RequestParts, "request" | "set"> {
  query: Query;
}
type Read = (range: EventRange) => Promise<EventPage>;

/**
 * Reads a page of all events, and sets Link if there is more (RFC 8288). Throws `invalid_request`.
 */
export function readEventPage(
  exchange: Exchange<typeof EventQuery.static>,
  read: Read,
): Promise<Event[]> {
  const { query, request } = exchange;
  const range = accept({
    after: query.after === undefined ? undefined : readAfter(query.after),
    limit: readLimit(query.limit),
    types: query.type === undefined ? undefined : readTypes(query.type),
    subjectId: query.subject === undefined ? undefined : readSubject(query.subject),
    since: query.since === undefined ? undefined : readTime("/query/since", query.since),
    ...repeatedIn(request.url),
  });
  return linkedPage(exchange, range, read);
}

/** The same for the caller's events after a cursor. */
export function readOwnEventPage(
  exchange: Exchange<typeof OwnEventQuery.static>,
  after: string,
  read: Read,
): Promise<Event[]> {
  const { query, request } = exchange;
  // Elysia fills in the defaults of `skip` and `total`.
  const refuse = (name: "skip" | "cursor" | "total") =>
    query[name] ? fieldProblem(`/query/${name}`, "not_allowed", "cannot be sent with after") : null;
  const range = accept({
    after: readAfter(after),
    limit: readLimit(query.limit),
    skip: refuse("skip"),
    cursor: refuse("cursor"),
    total: refuse("total"),
    ...repeatedIn(request.url),
  });
  return linkedPage(exchange, { after: range.after, limit: range.limit }, read);
}

async function linkedPage(
  { request, set }: Pick<RequestParts, "request" | "set">,
  range: EventRange,
  read: Read,
): Promise<Event[]> {
  const { events, end, hasMore } = await read(range);
  if (hasMore) {
    const query = new URLSearchParams(request.url.split("?", 2)[1]);
    query.set("after", formatCursor(end));
    set.headers["link"] = `<${pathOf(request)}?${query}>; rel="next"`;
  }
  return events;
}

export function readAfter(value: string): EventCursor | FieldProblem {
  return parseCursor(value) ?? fieldProblem("/query/after", "wrong_format");
}

export function readTypes(value: string): EventType[] | FieldProblem {
  const types = value.split(",");
  return types.every(isEventType) ? types : fieldProblem("/query/type", "not_allowed");
}

function readSubject(value: string): string | FieldProblem {
  return isId(value) ? value : fieldProblem("/query/subject", "wrong_format");
}

export const readTime = (pointer: string, value: string): Date | FieldProblem =>
  parseTime(value) ?? fieldProblem(pointer, "wrong_format");
