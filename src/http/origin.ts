import type { Anonymous, Ctx, Origin, UserActor } from "../ctx.ts";
import type { Log } from "../kit/log.ts";
import { clientKeyOf, isPrivate, openProxyChain } from "../kit/network.ts";
import {
  type LimitName,
  type LimitReport,
  type LimitState,
  unreportedLimits,
} from "../limits/policies.ts";
import { deviceTokensIn } from "./device.ts";
import { contextOf, type RequestParts } from "./request-context.ts";

const USER_AGENT_MAX = 512;

/**
 * Bun does not know the peer IP after the client disconnected: such a client would not be counted
 * by its own IP. Skips GET requests, which change nothing.
 */
export function recordPeer({ request, server }: Pick<RequestParts, "request" | "server">): void {
  if (request.method === "GET") return;
  const ip = server?.requestIP(request)?.address;
  if (ip) contextOf(request).peer = ip;
}

/** All clients that disconnected before their IP was read share one rate limit. */
const DISCONNECTED = "gone";

const PROXY_NOT_TRUSTED =
  "Requests come through a proxy with a private IP that is not in TRUSTED_PROXIES: all clients behind it share one rate limit.";
const CLIENT_IP_MISSING =
  "Requests come from an IP in TRUSTED_PROXIES without a client IP (X-Forwarded-For, or CLIENT_ADDRESS_HEADER): if it is a proxy, all clients behind it share one rate limit.";
const warned = new WeakMap<Log, Set<string>>();

/** Determines the origin behind trusted proxies. Warns once about each likely misconfiguration. */
export function openOrigins({ config, devices, log }: Ctx) {
  const { trustedProxies, clientAddressHeader } = config;
  const { clientOf, isTrusted } = openProxyChain(trustedProxies);
  const warn = (sentence: string) => {
    const logged = warned.get(log) ?? new Set();
    if (logged.has(sentence)) return;
    warned.set(log, logged.add(sentence));
    log.warn({}, sentence);
  };
  const checkProxySetup = (peer: string, forwardedFor: string | undefined) => {
    if (isTrusted(peer)) {
      if (!forwardedFor) warn(CLIENT_IP_MISSING);
    } else if (forwardedFor && isPrivate(peer)) warn(PROXY_NOT_TRUSTED);
  };
  return (
    { request, headers, set, server }: RequestParts,
    limits: readonly LimitName[],
  ): Origin => {
    const peer = contextOf(request).peer ?? server?.requestIP(request)?.address;
    const forwardedFor = headers[clientAddressHeader];
    if (peer) checkProxySetup(peer, forwardedFor);
    const ip = peer ? clientOf(peer, forwardedFor ?? null) : null;
    const deviceTokens = deviceTokensIn(headers);
    return {
      ip,
      clientKey: ip ? clientKeyOf(ip) : server && DISCONNECTED,
      userAgent: headers["user-agent"]?.slice(0, USER_AGENT_MAX) ?? null,
      requestId: contextOf(request).id,
      deviceTokens,
      get deviceUserId() {
        const known = deviceTokens.values().map(devices.read);
        return known.find((device) => device !== undefined)?.userId;
      },
      ...limitReportOf({ set }, limits),
    };
  };
}

/** Most requests never read the origin, so it is determined on first access. */
export const actorsFrom =
  (originOf: ReturnType<typeof openOrigins>) =>
  <A extends Anonymous | UserActor>(
    parts: RequestParts,
    actor: A,
    limits: readonly LimitName[],
  ): A => {
    let origin: Origin | undefined;
    return {
      ...actor,
      get origin() {
        origin ??= originOf(parts, limits);
        return origin;
      },
    };
  };

export const limitReportOf = (
  { set }: Pick<RequestParts, "set">,
  limits: readonly LimitName[],
): LimitReport => ({
  limits,
  addStates: (states) =>
    addLimitHeaders(
      set.headers,
      states.filter(({ limit, isGranted }) => !isGranted || !unreportedLimits.has(limit)),
    ),
});

/**
 * RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers): quota `q` in `w` seconds;
 * `r` remaining, more in `t` seconds. Appends, because a request may consume limits one after the
 * other. Retry-After is the longest wait of the refused limits.
 */
function addLimitHeaders(headers: RequestParts["set"]["headers"], states: LimitState[]): void {
  const add = (name: string, entries: string[]) => {
    const present = headers[name];
    headers[name] = [...(present === undefined ? [] : [present]), ...entries].join(", ");
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
    states.map(
      ({ limit, remaining, refillInSeconds }) => `"${limit}";r=${remaining};t=${refillInSeconds}`,
    ),
  );
  const waits = states.flatMap(({ isGranted, refillInSeconds }) =>
    isGranted ? [] : [refillInSeconds],
  );
  if (waits.length > 0) headers["retry-after"] = String(Math.max(...waits));
}
