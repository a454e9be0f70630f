import { Elysia } from "elysia";
import { Problem } from "../kit/problem.ts";
import { isConnectionClosed } from "./closed-connection.ts";
import { isPathIn } from "./host.ts";
import { discardRest } from "./unread-body.ts";

export const BODY_MAX_BYTES = 65_536;
/** For the whole body: a slow client (slow loris) cannot hold a connection or a shutdown longer. */
const READ_MAX_MS = 10_000;
const DEPTH_MAX = 32;
const JSON_TYPES = ["application/json", "application/merge-patch+json"];
const FORM_TYPE = "application/x-www-form-urlencoded";

interface BodyRules {
  formPaths: string[];
  /** Paths where parameters without a value count as missing (RFC 6749, section 3.2). */
  oauthPaths: string[];
  isCrossSite: (headers: Headers) => boolean;
}

/**
 * Reads every body: JSON, and forms on the paths that accept them. If a body cannot be read, its
 * value is a Problem, which the route guard throws after authentication.
 */
export const bodyReader = (rules: BodyRules) =>
  new Elysia({ name: "body" }).onParse(
    { as: "global" },
    async ({ request, path, contentType, set }) => {
      if (request.body === null) return undefined;
      try {
        return await read(rules, request, { contentType, path });
      } catch (error) {
        const problem = problemOf(error);
        // The rest may never arrive, so do not wait for it.
        if (problem.code === "request_timeout") set.headers["connection"] = "close";
        return problem;
      }
    },
  );

async function read(
  { formPaths, oauthPaths, isCrossSite }: BodyRules,
  request: Request,
  { contentType, path }: Record<"contentType" | "path", string>,
): Promise<unknown> {
  const { headers } = request;
  const format = formatOf(headers, contentType, isPathIn(formPaths, path));
  const refusal = refusalOf(headers, format);
  if (refusal && headers.has("content-length")) throw refusal;
  const bytes = await withinTimeLimit(readBytes(request, refusal ?? new Problem("body_too_large")));
  if (await isConnectionClosed(request)) throw new Problem("malformed_request");
  // A chunked body may be empty. Not undefined: Elysia would read the body again.
  if (bytes.length === 0) return null;
  if (refusal) throw refusal;
  const text = decode(bytes);
  if (format === "json") return parseJson(text);
  if (isCrossSite(headers)) throw new Problem("cross_site_request");
  const parameters = parseForm(text);
  return isPathIn(oauthPaths, path) ? withoutEmpty(parameters) : parameters;
}

function formatOf(
  headers: Headers,
  contentType: string,
  acceptsForms: boolean,
): "form" | "json" | undefined {
  // Two Content-Type lines: Bun joins them with a comma, Elysia reads the first part.
  if (headers.get("content-type")?.includes(",")) return undefined;
  const type = contentType.trim().toLowerCase();
  if (JSON_TYPES.includes(type)) return "json";
  return type === FORM_TYPE && acceptsForms ? "form" : undefined;
}

const withoutEmpty = (parameters: Record<string, string>) =>
  Object.fromEntries(Object.entries(parameters).filter(([, value]) => value !== ""));

/** Without content encodings (RFC 9110, 8.4.1), the limit also holds for the decoded content. */
function refusalOf(headers: Headers, format: "form" | "json" | undefined): Problem | undefined {
  if (!format) return new Problem("unsupported_media_type");
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding.trim().toLowerCase() === "identity") return undefined;
  const detail = "Send the body without Content-Encoding";
  return new Problem("unsupported_media_type", { detail });
}

function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  // The client disconnected and gets no response. The code is for metrics and the access log.
  if ((error as Error).name === "AbortError") return new Problem("malformed_request");
  throw error;
}

async function withinTimeLimit<T>(reading: Promise<T>): Promise<T> {
  const { promise: timedOut, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Problem("request_timeout")), READ_MAX_MS);
  try {
    return await Promise.race([reading, timedOut]);
  } finally {
    clearTimeout(timer);
  }
}

/** Never holds more than the limit in memory, whatever Content-Length says. */
async function readBytes(request: Request, tooLarge: Problem): Promise<Uint8Array> {
  const announced = request.headers.get("content-length");
  if (announced === null) return readChunks(request, tooLarge);
  // Bun joins two Content-Length lines: "9, 9". Such a value would bypass the limit.
  if (!/^\d+$/.test(announced)) throw new Problem("malformed_request");
  if (Number(announced) > BODY_MAX_BYTES) throw tooLarge;
  // Bun reads no more than Content-Length. Reading at once costs a third of reading in chunks.
  return new Uint8Array(await request.arrayBuffer());
}

async function readChunks({ body }: Request, tooLarge: Problem): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = body?.getReader();
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    length += part.value.length;
    if (length > BODY_MAX_BYTES) {
      if (reader) await discardRest(reader);
      throw tooLarge;
    }
    chunks.push(part.value);
  }
  return Buffer.concat(chunks);
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Problem("malformed_request");
  }
}

function parseForm(text: string): Record<string, string> {
  const pairs = text.split("&").filter((pair) => pair !== "");
  const form = Object.fromEntries(pairs.map(parsePair));
  // RFC 6749, section 3.2: a parameter must not be sent more than once.
  if (Object.keys(form).length < pairs.length) throw new Problem("malformed_request");
  refuseBadText(form);
  return form;
}

/** Not URLSearchParams: it makes one character of all invalid bytes, and two passwords equal. */
function parsePair(pair: string): [name: string, value: string] {
  const at = pair.includes("=") ? pair.indexOf("=") : pair.length;
  const decoded = (part: string) => decodeURIComponent(part.replaceAll("+", " "));
  try {
    return [decoded(pair.slice(0, at)), decoded(pair.slice(at + 1))];
  } catch {
    throw new Problem("malformed_request");
  }
}

function parseJson(text: string): unknown {
  refuseDepth(text);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Problem("malformed_request");
  }
  refuseBadText(value);
  return value;
}

const STRUCTURE = /["\\[\]{}]/g;

/** Counts brackets outside of strings before parsing. One pass, whatever the text is. */
function refuseDepth(text: string): void {
  let depth = 0;
  let isString = false;
  let escapedAt = -1;
  for (const { 0: letter, index } of text.matchAll(STRUCTURE)) {
    if (index === escapedAt) continue;
    if (letter === "\\") escapedAt = index + 1;
    else if (letter === '"') isString = !isString;
    else if (!isString) depth += letter === "{" || letter === "[" ? 1 : -1;
    if (depth > DEPTH_MAX) throw new Problem("malformed_request");
  }
}

/** PostgreSQL stores no NUL. Two passwords with different lone surrogates hash to the same. */
function refuseBadText(value: unknown): void {
  if (typeof value === "string" && (value.includes("\0") || !value.isWellFormed()))
    throw new Problem("malformed_request");
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    refuseBadText(key);
    refuseBadText(inner);
  }
}
