import { productProblems } from "../product/problem-codes.ts";
import { joinTables } from "./join.ts";

type ProblemText = { status: number } & Record<"title" | "detail" | "remedy", string>;

/** Every problem that a caller can get (RFC 9457). `/problems/<code>` shows it. */
const bunkerProblems = {
  malformed_request: {
    status: 400,
    title: "The request cannot be parsed",
    detail: "The body is not well-formed",
    remedy:
      "Send well-formed UTF-8 JSON, nested at most 32 levels deep, without NUL characters or lone surrogates. Send exactly one valid Host header.",
  },
  unsupported_header: {
    status: 400,
    title: "The header is not supported",
    detail: "This route does not support one of the headers",
    remedy:
      "Remove the header. An Idempotency-Key is refused where a request is safe to repeat without it (PUT, PATCH, DELETE, sign-out), and where the response contains a token. If-Match is for resources that have an ETag.",
  },
  invalid_credentials: {
    status: 401,
    title: "Incorrect email, username or password",
    detail: "Incorrect email or password",
    remedy:
      "Check the email or username, and the password. The response does not say which one is wrong.",
  },
  not_signed_in: {
    status: 401,
    title: "Authentication required",
    detail: "Could not validate credentials",
    remedy:
      "Send an access token in the header: Authorization: Bearer <token>. A token in the URL is ignored.",
  },
  invalid_token: {
    status: 401,
    title: "The access token is not valid",
    detail: "Could not validate credentials",
    remedy:
      "The token is expired, forged or for another service, or its session has ended, or its user is deactivated. Sign in again.",
  },
  invalid_refresh_token: {
    status: 401,
    title: "The refresh token is not valid",
    detail: "Could not refresh the session",
    remedy:
      "The token is unknown or already used, or its session has ended. Sign in again. Each refresh token works once: keep the one from the latest response.",
  },
  reauthentication_required: {
    status: 401,
    title: "Authenticate again",
    detail: "Send current_password, or sign in again",
    remedy:
      "This request needs a sign-in that is less than 10 minutes old, or the user's password in current_password (RFC 9470).",
  },
  account_inactive: {
    status: 403,
    title: "The user is deactivated",
    detail: "This user is deactivated",
    remedy:
      "The password is correct, but the user is deactivated. Only a superuser or the operator can reactivate the user.",
  },
  email_not_verified: {
    status: 403,
    title: "The email is not verified",
    detail: "Verify your email first",
    remedy:
      "The password is correct. Open the link in the email that you got after you registered, or request another one: POST /api/v1/auth/email/verify/resend.",
  },
  email_sign_in_off: {
    status: 403,
    title: "Email sign-in is disabled",
    detail: "Email sign-in is disabled",
    remedy: "Sign in with a password. The operator can enable email sign-in: EMAIL_SIGN_IN=on.",
  },
  cross_site_request: {
    status: 403,
    title: "Cross-site request refused",
    detail: "Forms from this origin are not allowed",
    remedy:
      "The browser reports that a page of another site sent this form or opened this WebSocket. Use a page of this service, or add the origin of that page to CORS_ORIGINS.",
  },
  forbidden: {
    status: 403,
    title: "Permission denied",
    detail: "The user doesn't have enough privileges",
    remedy: "This request needs a superuser. Ask a superuser, or sign in as one.",
  },
  registration_closed: {
    status: 403,
    title: "Registration is closed",
    detail: "Registration is closed",
    remedy: "This service does not accept registrations. The operator can create a user for you.",
  },
  not_found: {
    status: 404,
    title: "Not found",
    detail: "Not found",
    remedy:
      "Check the path and the ID. A resource that you may not see looks like one that does not exist.",
  },
  method_not_allowed: {
    status: 405,
    title: "Method not allowed",
    detail: "Method not allowed",
    remedy:
      "The path exists, but it does not support this method. The Allow header lists the methods that it supports.",
  },
  email_taken: {
    status: 409,
    title: "The email is taken",
    detail: "User with this email already exists",
    remedy:
      "Sign in with this email, or use another one. Emails are compared without regard to case.",
  },
  username_taken: {
    status: 409,
    title: "The username is taken",
    detail: "User with this username already exists",
    remedy: "Choose another username. Usernames are compared without regard to case.",
  },
  last_superuser: {
    status: 409,
    title: "The last superuser must remain",
    detail: "This is the last active superuser",
    remedy: "Make another user a superuser first. Then you can demote or deactivate this one.",
  },
  request_timeout: {
    status: 408,
    title: "The request timed out",
    detail: "The body did not arrive in time",
    remedy: "The request was not processed. Send it again over a faster connection.",
  },
  body_too_large: {
    status: 413,
    title: "The body is too large",
    detail: "The body is larger than 65536 bytes",
    remedy: "Send at most 64 KiB.",
  },
  invalid_link: {
    status: 400,
    title: "The link is not valid",
    detail: "This link is no longer valid",
    remedy:
      "A mailed link works once, for a limited time, and until the user's email changes. Request another one.",
  },
  invalid_code: {
    status: 400,
    title: "The code is not valid",
    detail: "This code is not valid",
    remedy:
      "A mailed code works once, for ten minutes and five attempts, and only until another one is sent. The link in the same email still works. Otherwise, request another code.",
  },
  stale: {
    status: 412,
    title: "The resource has changed",
    detail: "The resource has changed since you read it",
    remedy: "If-Match names an earlier version (ETag). Fetch the resource again and retry.",
  },
  request_in_progress: {
    status: 409,
    title: "The same request is in progress",
    detail: "A request with this Idempotency-Key is in progress",
    remedy:
      "Retry after a moment with the same key. You then get the response to the first request.",
  },
  cursor_expired: {
    status: 410,
    title: "The cursor is older than the stored events",
    detail: "Events after this cursor have been deleted",
    remedy:
      "Events are deleted after EVENTS_RETENTION_DAYS. Read again without `after`, which begins with the oldest event, and compare your data with GET /api/v1/users.",
  },
  too_many_webhooks: {
    status: 409,
    title: "There are too many webhooks",
    detail: "There are 100 webhooks, which is the maximum",
    remedy: "Delete a webhook, or let one receiver pass events on to others.",
  },
  unsupported_media_type: {
    status: 415,
    title: "Unsupported content type",
    detail: "Send the body as application/json, or as a form where the route accepts one",
    remedy:
      "Set the header Content-Type: application/json. Sign-in and the OAuth endpoints also accept application/x-www-form-urlencoded.",
  },
  invalid_request: {
    status: 422,
    title: "The request is not valid",
    detail: "The request does not match the schema",
    remedy:
      "Each entry of `errors` points to one part of the request (JSON Pointer, RFC 6901) and says what is wrong with it.",
  },
  internal: {
    status: 500,
    title: "Internal server error",
    detail: "An unexpected error occurred",
    remedy: "Try again later. The operator can find the cause in the log by the request ID.",
  },
  invalid_client: {
    status: 401,
    title: "Client authentication failed",
    detail: "Client authentication failed",
    remedy:
      "Send client_id and client_secret by HTTP Basic or in the form, not both. `bunker clients list` shows the OAuth clients. `bunker clients rotate` gives one a new secret.",
  },
  unauthorized_client: {
    status: 400,
    title: "The client may not do this",
    detail: "This OAuth client is not allowed to do this",
    remedy:
      "Sessions belong to the public client: send no client_secret. A confidential client uses client_credentials, and can revoke only its own tokens.",
  },
  unsupported_grant_type: {
    status: 400,
    title: "Unsupported grant type",
    detail: "This grant type is not supported",
    remedy:
      "/.well-known/oauth-authorization-server lists the grants. The password grant is disabled unless OAUTH_PASSWORD_GRANT=on.",
  },
  invalid_scope: {
    status: 400,
    title: "Unknown scope",
    detail: "The scope is unknown",
    remedy: "Omit scope. No scopes exist yet.",
  },
  idempotency_key_reused: {
    status: 422,
    title: "The Idempotency-Key was used for another request",
    detail: "This Idempotency-Key was used with another body",
    remedy: "Create a new key for each request. Reuse a key only with the same body.",
  },
  next_key_too_new: {
    status: 409,
    title: "The next key is too new",
    detail:
      "The next key was published less than ten minutes ago, and services that verify tokens may not have it yet: wait, or rotate with --now",
    remedy: "Wait ten minutes. If a key has leaked, do not wait: bunker keys rotate --now.",
  },
  other_secret_key: {
    status: 409,
    title: "The keys belong to another SECRET_KEY",
    detail: "The keys were created with another SECRET_KEY than this one",
    remedy: "Run this with the SECRET_KEY and SECRET_KEYS of the servers.",
  },
  key_in_use: {
    status: 409,
    title: "The key is in use",
    detail: "This key is the current one of its algorithm",
    remedy:
      "Rotate first: bunker keys rotate, with the ALGORITHM of this key. Then retire this key.",
  },
  too_many_requests: {
    status: 429,
    title: "Too many requests",
    detail: "Too many requests",
    remedy:
      "A rate limit was reached: the RateLimit header names it. The request was not processed. Retry after the number of seconds in Retry-After. If sign-ins are limited because of failed attempts by others, a client that has signed in to this user before can still sign in: it sends the device token that it got then.",
  },
  too_many_streams: {
    status: 429,
    title: "Too many open streams",
    detail: "This user has too many open streams of events",
    remedy:
      "Close a stream that you no longer read, or share one stream in your program. Then retry after the number of seconds in Retry-After. The operator sets the limit: STREAMS_PER_USER. If the detail names WebSockets that have not authenticated, send the access token in the handshake, or authenticate sooner.",
  },
  streams_unavailable: {
    status: 503,
    title: "No more streams can be opened",
    detail: "This server can open no more streams of events",
    remedy:
      "The server is restarting, or has as many streams as it can hold. Retry after the number of seconds in Retry-After.",
  },
  upgrade_required: {
    status: 426,
    title: "A WebSocket is required",
    detail: "This URL accepts only WebSocket connections",
    remedy:
      "Open it with a WebSocket client. If you did, a proxy in between drops the Upgrade header: see the files in deploy/. Without WebSockets, use the stream of server-sent events.",
  },
  busy: {
    status: 503,
    title: "Too many sign-ins at once",
    detail: "Too many passwords are being checked",
    remedy:
      "The request was not processed. Retry after the number of seconds in Retry-After. Users who are already signed in are not affected.",
  },
  database_unavailable: {
    status: 503,
    title: "The database is unavailable",
    detail: "The database cannot be reached",
    remedy:
      "Retry after the number of seconds in Retry-After. A change may or may not have been applied: check before you repeat it.",
  },
} as const;

export const problems = joinTables(bunkerProblems, productProblems) satisfies Record<
  string,
  ProblemText
>;

export type ProblemCode = keyof typeof problems;

/** What can be wrong with one field of a request: the code and the default detail. */
export const fieldProblems = {
  missing: "is missing",
  unknown_field: "has an unknown field",
  not_writable: "cannot be set here",
  wrong_type: "has the wrong type",
  wrong_format: "has the wrong format",
  too_short: "is too short",
  too_long: "is too long",
  out_of_range: "is out of range",
  not_allowed: "is not one of the allowed values",
  repeated: "is sent more than once",
  reserved: "is reserved",
  password_too_common: "is among the most common passwords",
  password_too_personal:
    "is made of your own email, username or name, or of the name of this service",
} as const;
export type FieldProblemCode = keyof typeof fieldProblems;
