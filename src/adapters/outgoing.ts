import { version } from "../kit/build.ts";
import { authority } from "../kit/network.ts";
import type { Outgoing, OutgoingFailure, OutgoingRequest } from "../kit/outgoing.ts";
import { isFieldProblem } from "../kit/problem.ts";
import { isPublicIp } from "../kit/public-ip.ts";
import { ipOf, isAllowed, portOf, type ReceiverRules, readWebhookUrl } from "../kit/webhook-url.ts";
import { within } from "../kit/within.ts";
import { resolveName } from "./resolve-name.ts";

/** Until the head of the response, with the lookup and the connection. */
const HEAD_MAX_MS = 5_000;
const BODY_MAX_MS = 5_000;
/** What is read, so that the connection can be used again. A longer body closes it. */
const BODY_MAX_BYTES = 65_536;
const KEPT_BYTES = 1_024;
const IDLE_CONNECTION_SECONDS = 60;

interface OutgoingOptions {
  now: () => Date;
  /** Returns every IP of a host name. */
  resolve?: (hostname: string) => Promise<string[]>;
}

/**
 * A name is resolved once, and nothing is sent if one of its IPs is not public. The connection goes
 * to a checked IP, and the certificate is checked against the name. So a name that resolves to
 * another IP a moment later changes nothing (DNS rebinding). Does no I/O when opened.
 */
export function openOutgoing(
  rules: ReceiverRules,
  { now, resolve = resolveName }: OutgoingOptions,
): Outgoing {
  const session = new Bun.FetchSession({
    // A proxy from the environment could be in another network, where the IP is not public.
    proxy: false,
    keepAlive: { idleTimeout: IDLE_CONNECTION_SECONDS },
  });

  const ipsOf = async (url: URL): Promise<string[]> => {
    const ip = ipOf(url);
    if (ip !== undefined) return [ip];
    const ips = await resolve(url.hostname).catch(notResolved);
    if (ips.length === 0) return notResolved();
    if (!isAllowed(url, rules) && !ips.every(isPublicIp))
      throw new Failed("refused IP", "The host name has an IP that is not public.");
    return ips;
  };

  const respond = async (url: URL, init: BunFetchRequestInit): Promise<Response> => {
    // Bun resolves and checks the name in the URL unless told otherwise: here an IP.
    const tls = { rejectUnauthorized: true, ...(ipOf(url) ? {} : { serverName: url.hostname }) };
    const [first, ...others] = await ipsOf(url);
    const connect = (ip = "") => fetch(pinned(url, ip), { ...init, session, tls });
    let response = connect(first);
    // Nothing was sent to an IP that refused the connection.
    for (const ip of others)
      response = response.catch((error) => {
        if (!init.signal?.aborted && isRefused(error)) return connect(ip);
        throw error;
      });
    return response;
  };

  const send = async (text: string, init: BunFetchRequestInit & { headers: Headers }) => {
    const href = readWebhookUrl(text, rules);
    if (isFieldProblem(href)) throw new Failed("refused IP", `The URL ${href.detail}.`);
    const url = new URL(href);
    init.headers.set("host", url.host);
    const response = await within(HEAD_MAX_MS, respond(url, init));
    if (!response)
      throw new Failed("timed out", `No response within ${HEAD_MAX_MS / 1000} seconds.`);
    return {
      status: response.status,
      retryAfterSeconds: secondsIn(response.headers.get("retry-after"), now()),
      body: await startOf(response),
    };
  };

  const post = async (url: string, { headers: given, body, signal }: OutgoingRequest) => {
    const startedAt = performance.now();
    const headers = new Headers({ ...DEFAULT_HEADERS, ...given });
    const ended = new AbortController();
    const outcome = await send(url, {
      method: "POST",
      headers,
      body,
      redirect: "manual",
      decompress: false,
      signal: signal ? AbortSignal.any([signal, ended.signal]) : ended.signal,
    }).catch((error) => {
      signal?.throwIfAborted();
      return failureOf(error);
    });
    // Closes the connection of an unfinished response.
    ended.abort();
    return { ...outcome, durationMs: Math.round(performance.now() - startedAt) };
  };
  return { post };
}

/** Without these, Bun names itself and asks for compressed responses. */
const DEFAULT_HEADERS = { "user-agent": `Bunker/${version}`, "accept-encoding": "identity" };

class Failed extends Error {
  readonly failure: OutgoingFailure["failure"];
  constructor(failure: OutgoingFailure["failure"], detail: string) {
    super(detail);
    this.failure = failure;
  }
}

function notResolved(error?: unknown): never {
  throw new Failed("cannot resolve", `The host name has no IP (${codeOf(error) ?? "ENODATA"}).`);
}

const pinned = (url: URL, ip: string): string =>
  `${url.protocol}//${authority(ip, portOf(url))}${url.pathname}${url.search}`;

const codeOf = (error: unknown): string | undefined => {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "string" ? code : undefined;
};

const isRefused = (error: unknown): boolean =>
  /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|ETIMEDOUT)$/.test(codeOf(error) ?? "");

/** The codes of OpenSSL's verification, and of Bun. */
const TLS_CODE =
  /CERT|TLS|SSL|EPROTO|SELF_SIGNED|UNABLE_TO|HOSTNAME_MISMATCH|INVALID_(CA|PURPOSE)|PATH_LENGTH/;

function failureOf(error: unknown): OutgoingFailure {
  if (error instanceof Failed) return { failure: error.failure, detail: error.message };
  const code = codeOf(error) ?? "no code";
  if (isRefused(error))
    return { failure: "cannot connect", detail: `The receiver refused the connection (${code}).` };
  if (TLS_CODE.test(code))
    return { failure: "TLS", detail: `The certificate or TLS of the receiver failed (${code}).` };
  return { failure: "connection lost", detail: `The connection ended early (${code}).` };
}

/** A number of seconds, or an HTTP date (RFC 9110, section 10.2.3). */
function secondsIn(retryAfter: string | null, now: Date): number | undefined {
  const text = retryAfter?.trim() ?? "";
  if (/^\d{1,9}$/.test(text)) return Number(text);
  const at = / GMT$/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - now.getTime()) / 1000));
}

/** Reads the body as far as the limits allow. The status counts, however the body ends. */
async function startOf({ body }: Response): Promise<string> {
  const kept = Buffer.alloc(KEPT_BYTES);
  let length = 0;
  const read = async () => {
    for await (const chunk of body ?? []) {
      if (length < KEPT_BYTES) kept.set(chunk.subarray(0, KEPT_BYTES - length), length);
      length += chunk.length;
      if (length >= BODY_MAX_BYTES) return;
    }
  };
  await within(
    BODY_MAX_MS,
    read().catch(() => {}),
  );
  // Streaming leaves out a character that was cut at the end.
  const text = new TextDecoder().decode(kept.subarray(0, length), { stream: length > KEPT_BYTES });
  return text.replaceAll("\0", "\ufffd");
}
