import { t } from "elysia";
import type { Cursor, List, PageRange } from "../db/page.ts";
import { isId } from "../kit/id.ts";
import { accept, type FieldProblem, fieldProblem } from "../kit/problem.ts";
import { pathOf } from "./host.ts";
import { repeatedIn } from "./query.ts";
import { readBy } from "./readers.ts";
import type { RequestParts } from "./request-context.ts";
import { described } from "./schemas.ts";

interface Page extends PageRange {
  total: boolean;
}

interface Bounds {
  minimum: number;
  maximum: number;
  default: number;
}
const bounds = {
  skip: { minimum: 0, maximum: 10_000, default: 0 },
  limit: { minimum: 1, maximum: 200, default: 100 },
};

/** For lists that are not paged by `readPage`. */
export const readLimit = (value: unknown): number | FieldProblem =>
  readInteger("/query/limit", value, bounds.limit);

// If Elysia parsed numbers in a query, an error would not name the parameter. So the schema only
// describes them, and `readQuery` parses them.
const optional = <T>(schema: Record<string, unknown>) => t.Optional(described<T>(schema));

/** The query parameters of every list. */
export const PageQuery = t.Object(
  {
    skip: optional<number>({
      type: "integer",
      ...bounds.skip,
      ...readBy<unknown>((value) => readInteger("/query/skip", value, bounds.skip)),
      description: "The number of items to skip. Beyond the maximum, follow the cursor.",
    }),
    limit: optional<number>({
      type: "integer",
      ...bounds.limit,
      ...readBy<unknown>(readLimit),
      description: "The maximum number of items to return.",
    }),
    cursor: t.Optional(
      t.String({
        minLength: 1,
        maxLength: 100,
        ...readBy(readCursor),
        description: "From the Link header of the previous page. Replaces `skip`.",
      }),
    ),
    total: optional<boolean>({
      type: "boolean",
      default: false,
      ...readBy<unknown>((value) => readBoolean("/query/total", value)),
      description: "True: return the number of all items in the header X-Total-Count.",
    }),
  },
  { additionalProperties: false },
);

/** The parts of Elysia's context that a list needs. */
interface Exchange extends Pick<RequestParts, "request" | "set"> {
  query: typeof PageQuery.static;
}

/**
 * Reads one page of a list, and sets its headers: Link to the next page (RFC 8288), and
 * X-Total-Count if requested. Throws `invalid_request`.
 */
export async function readPage<Row extends Cursor>(
  exchange: Exchange,
  { rows, count }: List<Row>,
): Promise<Row[]> {
  const page = readQuery(exchange);
  const { headers } = exchange.set;
  // Read one row more than the page holds: if it exists, there is a next page.
  const found = await rows({ start: page.start, limit: page.limit + 1 });
  const shown = found.slice(0, page.limit);
  const last = shown.at(-1);
  if (last && found.length > page.limit) headers["link"] = nextLink(exchange, last, page);
  if (page.total) headers["x-total-count"] = String(await count());
  return shown;
}

function nextLink({ request, query }: Exchange, last: Cursor, { limit, total }: Page): string {
  const filters = Object.entries(query).filter(([name]) => !(name in PageQuery.properties));
  const page = { limit, ...(total ? { total } : {}), cursor: cursorOf(last) };
  const pairs = [...filters, ...Object.entries(page)].map(
    ([name, value]) => `${name}=${encodeURIComponent(String(value))}`,
  );
  return `<${pathOf(request)}?${pairs.join("&")}>; rel="next"`;
}

/** Opaque on the wire: clients pass on what they received. */
const cursorOf = ({ createdAt, id }: Cursor): string =>
  Buffer.from(`${createdAt.getTime()} ${id}`).toString("base64url");

/** Reads the query of a list. Throws `invalid_request` with all its problems. */
function readQuery({ query, request: { url } }: Exchange): Page {
  const { skip, limit, cursor, total } = accept({
    skip: readInteger("/query/skip", query.skip, bounds.skip),
    limit: readLimit(query.limit),
    cursor: query.cursor === undefined ? undefined : readCursor(query.cursor),
    total: readBoolean("/query/total", query.total),
    ...repeatedIn(url),
  });
  return { start: cursor ?? { skip }, limit, total };
}

/** The end of the year 9999. Later times have another spelling. */
const TIME_MAX = 253_402_300_799_999;

function readCursor(text: string): Cursor | FieldProblem {
  const [time = "", id = "", ...more] = Buffer.from(text, "base64url")
    .toString("latin1")
    .split(" ");
  const isValid =
    /^\d{1,15}$/.test(time) && Number(time) <= TIME_MAX && isId(id) && more.length === 0;
  if (!isValid) return fieldProblem("/query/cursor", "wrong_format");
  return { createdAt: new Date(Number(time)), id };
}

function readInteger(pointer: string, value: unknown, within: Bounds): number | FieldProblem {
  if (value === undefined) return within.default;
  if (!/^-?\d{1,9}$/.test(String(value))) return fieldProblem(pointer, "wrong_type");
  const number = Number(value);
  if (number >= within.minimum && number <= within.maximum) return number;
  const detail = `must be from ${within.minimum} to ${within.maximum}`;
  return fieldProblem(pointer, "out_of_range", detail);
}

const booleans = new Map<unknown, boolean>([
  [false, false], // The default, as Elysia fills it in.
  ["false", false],
  ["true", true],
]);

const readBoolean = (pointer: string, value: unknown): boolean | FieldProblem =>
  booleans.get(value) ?? fieldProblem(pointer, "wrong_type");
