/** Sends requests to URLs that users or operators entered, which may be hostile (SSRF). */
export interface Outgoing {
  /**
   * Posts once, to a public IP only. Follows no redirect, uses no proxy, keeps no cookie. Takes at
   * most 10 seconds. Throws nothing but the reason of `signal`, if that is aborted.
   */
  post: (url: string, request: OutgoingRequest) => Promise<OutgoingOutcome>;
}

export interface OutgoingRequest {
  headers: Record<string, string>;
  body: string;
  signal?: AbortSignal;
}

export type OutgoingOutcome = (OutgoingResponse | OutgoingFailure) & { durationMs: number };

export interface OutgoingResponse {
  status: number;
  /** From the Retry-After header, which has seconds or a date (RFC 9110, section 10.2.3). */
  retryAfterSeconds: number | undefined;
  /** The first 1 KiB, as text without NUL: PostgreSQL stores none. */
  body: string;
}

export interface OutgoingFailure {
  failure:
    | "refused IP"
    | "cannot resolve"
    | "cannot connect"
    | "timed out"
    | "TLS"
    | "connection lost";
  /** A short sentence without input of the receiver. */
  detail: string;
}
