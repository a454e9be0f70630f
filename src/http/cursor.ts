import { fieldProblem, Problem } from "../kit/problem.ts";

/** A place in a list ordered by time and id. On the wire it is opaque: callers pass on what they were given. */
export interface Cursor {
  createdAt: Date;
  id: string;
}

const SHAPE = /^(\d{1,15}) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

const cursorOf = ({ createdAt, id }: Cursor): string =>
  Buffer.from(`${createdAt.getTime()} ${id}`).toString("base64url");

/** Throws `invalid_request` for what is not a cursor of ours. */
export function readCursor(text: string): Cursor {
  const [, time, id] = SHAPE.exec(Buffer.from(text, "base64url").toString("latin1")) ?? [];
  if (time === undefined || id === undefined || Number(time) > 8.64e15)
    throw new Problem("invalid_request", { errors: [fieldProblem("/cursor", "wrong_format")] });
  return { createdAt: new Date(Number(time)), id };
}

/** A Link header to the page behind `last` (RFC 8288). */
export function nextLink(path: string, last: Cursor, query: Record<string, unknown>): string {
  const kept = { ...query, skip: undefined, cursor: cursorOf(last) };
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(kept))
    if (value !== undefined) search.set(name, String(value));
  return `<${path}?${search}>; rel="next"`;
}
