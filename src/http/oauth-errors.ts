import { t } from "elysia";
import type { Problem } from "../kit/problem.ts";
import type { ProblemCode } from "../kit/problem-codes.ts";

export const OAUTH_PATHS = ["/oauth/token", "/oauth/revoke", "/oauth/introspect"];

/** The error and status of each problem (RFC 6749, section 5.2; RFC 7009, section 2.2.1). */
const errors: Partial<Record<ProblemCode, [error: string, status: number]>> = {
  malformed_request: ["invalid_request", 400],
  request_timeout: ["invalid_request", 408],
  invalid_request: ["invalid_request", 400],
  unsupported_header: ["invalid_request", 400],
  unsupported_media_type: ["invalid_request", 415],
  body_too_large: ["invalid_request", 413],
  cross_site_request: ["invalid_request", 403],
  invalid_client: ["invalid_client", 401],
  invalid_credentials: ["invalid_grant", 400],
  invalid_refresh_token: ["invalid_grant", 400],
  account_inactive: ["invalid_grant", 400],
  email_not_verified: ["invalid_grant", 400],
  unauthorized_client: ["unauthorized_client", 400],
  unsupported_grant_type: ["unsupported_grant_type", 400],
  invalid_scope: ["invalid_scope", 400],
  too_many_requests: ["temporarily_unavailable", 429],
  busy: ["temporarily_unavailable", 503],
  database_unavailable: ["temporarily_unavailable", 503],
  internal: ["server_error", 500],
};

export function oauthErrorOf(
  problem: Problem,
): { status: number; body: { error: string; error_description: string } } | undefined {
  const known = errors[problem.code];
  if (!known) return undefined;
  const [error, status] = known;
  // RFC 6749 does not allow quotation marks and backslashes here.
  return { status, body: { error, error_description: problem.message.replaceAll(/["\\]/g, "'") } };
}

const OAuthError = t.Object(
  { error: t.String(), error_description: t.String() },
  {
    title: "OAuthError",
    description: "An error response (RFC 6749, section 5.2).",
    examples: [{ error: "invalid_grant", error_description: "Could not refresh the session" }],
  },
);

/** Spread into the `response` of the OAuth endpoints. */
export const oauthFails = {
  400: OAuthError,
  401: OAuthError,
  403: OAuthError,
  408: OAuthError,
  413: OAuthError,
  415: OAuthError,
  429: OAuthError,
  500: OAuthError,
  503: OAuthError,
};
