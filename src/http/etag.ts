import { status } from "elysia";
import { Stale } from "../kit/problem.ts";
import type { RequestParts } from "./request-context.ts";

type Exchange = Pick<RequestParts, "headers" | "set">;

/** A resource whose version is the time of its last change. */
interface Versioned {
  updatedAt: Date;
}

/** The ETag of a version. The time of a change never repeats (RFC 9110, section 8.8.3). */
export const tagOf = (updatedAt: Date): string => `"${updatedAt.getTime().toString(36)}"`;

/** Sets the ETag of a response that shows `resource`, and returns the resource. */
export function tagged<R extends Versioned>(set: Exchange["set"], resource: R): R {
  set.headers["etag"] = tagOf(resource.updatedAt);
  return resource;
}

/**
 * Answers with a resource and its ETag, or with 304 if the client already has this version
 * (If-None-Match). Throws `stale` if If-Match names another version.
 */
export function unlessKnown<R extends Versioned, View>(
  { headers, set }: Exchange,
  resource: R,
  view: (resource: R) => View,
) {
  const known = headers["if-none-match"];
  const versions = versionsOf({ headers });
  if (versions?.every((version) => version.getTime() !== resource.updatedAt.getTime()))
    throw new Stale(resource.updatedAt);
  tagged(set, resource);
  return isTagIn(known, tagOf(resource.updatedAt)) ? status(304, undefined) : view(resource);
}

/**
 * Whether If-None-Match names a tag. Compares weakly (RFC 9110, section 13.1.2): proxies that
 * compress make tags weak.
 */
export const isTagIn = (known: string | undefined, tag: string): boolean =>
  known !== undefined &&
  (known.trim() === "*" || tagsIn(known).some((one) => one.replace(/^W\//, "") === tag));

/** The row that a request changes or deletes: the one of its path, at a version of If-Match. */
export const targetOf = (request: Pick<Exchange, "headers"> & { params: { id: string } }) => ({
  id: request.params.id,
  versions: versionsOf(request),
});

/**
 * The versions that the client allows to be changed (If-Match); undefined for any version. Weak
 * tags match nothing.
 */
export function versionsOf({ headers }: Pick<Exchange, "headers">): Date[] | undefined {
  const allowed = headers["if-match"];
  if (allowed === undefined || allowed.trim() === "*") return undefined;
  return tagsIn(allowed).flatMap((tag) => {
    const [, version = ""] = /^"([0-9a-z]{1,9})"$/.exec(tag) ?? [];
    const date = new Date(Number.parseInt(version, 36));
    return Number.isNaN(date.getTime()) ? [] : [date];
  });
}

const TAGS_MAX = 20;
const tagsIn = (header: string): string[] =>
  (header.match(/(?:W\/)?"[^"]*"/g) ?? []).slice(0, TAGS_MAX);
