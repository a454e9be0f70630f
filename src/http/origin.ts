import type { Server } from "bun";
import type { Anonymous, Ctx, Origin, UserActor } from "../ctx.ts";
import type { Log } from "../kit/log.ts";
import { clientKeyOf, isPrivate, openProxyChain } from "../kit/network.ts";
import { type LimitName, type LimitReport, type LimitState, quiet } from "../limits/policies.ts";
import { deviceTokensIn } from "./device.ts";
import { contextOf } from "./request-context.ts";

/** What a request says of where it came from. */
export interface Visit {
  request: Request;
  headers: Record<string, string | undefined>;
  set: { headers: Record<string, string | number | string[] | undefined> };
  server: Server<unknown> | null;
}

const USER_AGENT_MAX = 512;

/**
 * Notes who is at the other end while that can be told: of a client that has hung up it cannot, and whoever hangs up at once
 * would be counted by no address. A request that changes nothing is spared the look.
 */
export function recordPeer({ request, server }: Pick<Visit, "request" | "server">): void {
  if (request.method === "GET") return;
  const address = server?.requestIP(request)?.address;
  if (address) contextOf(request).peer = address;
}

/** All who have hung up before anybody asked who they were count as one. */
const GONE = "gone";

const UNTRUSTED =
  "Requests come through a proxy on a private address that TRUSTED_PROXIES does not name: for the limits, all people behind it count as one.";
const SILENT =
  "Requests come from an address that TRUSTED_PROXIES names, and do not say who asks (X-Forwarded-For, or CLIENT_ADDRESS_HEADER): if it is a proxy, all people behind it count as one for the limits.";
const said = new WeakMap<Log, Set<string>>();

/** Finds out where requests came from, behind the proxies that are trusted; says once where one seems to be set up wrongly. */
export function openOrigins({ config, devices, log }: Ctx) {
  const { trustedProxies, clientAddressHeader } = config;
  const { clientOf, isTrusted } = openProxyChain(trustedProxies);
  const warn = (sentence: string) => {
    const before = said.get(log) ?? new Set();
    if (before.has(sentence)) return;
    said.set(log, before.add(sentence));
    log.warn({}, sentence);
  };
  const look = (socket: string, told: string | undefined) => {
    if (isTrusted(socket)) {
      if (!told) warn(SILENT);
    } else if (told && isPrivate(socket)) warn(UNTRUSTED);
  };
  return ({ request, headers, set, server }: Visit, limits: readonly LimitName[]): Origin => {
    const socket = contextOf(request).peer ?? server?.requestIP(request)?.address;
    const told = headers[clientAddressHeader];
    if (socket) look(socket, told);
    const address = socket ? clientOf(socket, told ?? null) : null;
    const deviceTokens = deviceTokensIn(headers);
    return {
      address,
      clientKey: address ? clientKeyOf(address) : server && GONE,
      userAgent: headers["user-agent"]?.slice(0, USER_AGENT_MAX) ?? null,
      requestId: contextOf(request).id,
      deviceTokens,
      get deviceUserId() {
        return firstOf(deviceTokens, devices.read)?.userId;
      },
      ...limitReportOf({ set }, limits),
    };
  };
}

/** What `read` makes of the first token that it can read. */
function firstOf<T>(tokens: string[], read: (token: string) => T | undefined): T | undefined {
  for (const token of tokens) {
    const found = read(token);
    if (found) return found;
  }
  return undefined;
}

/** Most requests change nothing, and nobody asks where they came from: it is found out when somebody does. */
export const actorsFrom =
  (originOf: ReturnType<typeof openOrigins>) =>
  <A extends Anonymous | UserActor>(visit: Visit, actor: A, limits: readonly LimitName[]): A => {
    let origin: Origin | undefined;
    return {
      ...actor,
      get origin() {
        origin ??= originOf(visit, limits);
        return origin;
      },
    };
  };

export const limitReportOf = (
  { set }: Pick<Visit, "set">,
  limits: readonly LimitName[],
): LimitReport => ({
  limits,
  tell: (states) =>
    tell(
      set.headers,
      states.filter(({ limit, isGranted }) => !isGranted || !quiet.has(limit)),
    ),
});

/**
 * RateLimit and RateLimit-Policy as draft-ietf-httpapi-ratelimit-headers has them: `q` in `w` seconds, `r` left, more in `t`. A
 * request may meet limits one after the other: each adds to what was told.
 */
function tell(headers: Visit["set"]["headers"], states: LimitState[]): void {
  const add = (name: string, entries: string[]) => {
    const told = headers[name];
    headers[name] = [...(told === undefined ? [] : [told]), ...entries].join(", ");
  };
  add(
    "ratelimit-policy",
    states.map(({ limit, policy }) => {
      const seconds = Math.ceil(policy.quota / policy.refill) * policy.periodSeconds;
      return `"${limit}";q=${policy.quota};w=${seconds}`;
    }),
  );
  add(
    "ratelimit",
    states.map(({ limit, left, refillInSeconds }) => `"${limit}";r=${left};t=${refillInSeconds}`),
  );
  const waits = states.flatMap(({ isGranted, refillInSeconds }) =>
    isGranted ? [] : [refillInSeconds],
  );
  if (waits.length > 0) headers["retry-after"] = String(Math.max(...waits));
}
