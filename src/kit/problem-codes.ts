/**
 * Every problem that a caller can get (RFC 9457): its status, its title, its default detail, and
 * the advice on the page `/problems/<code>`.
 */
export const problems = {
  malformed_request: {
    status: 400,
    title: "The request cannot be read",
    detail: "The body is not well-formed",
    remedy:
      "Send well-formed UTF-8 JSON, nested at most 32 levels deep, without NUL characters or lone surrogates, and one valid Host header.",
  },
  unsupported_header: {
    status: 400,
    title: "The header is not supported here",
    detail: "A header is not supported by this route",
    remedy:
      "Leave the header out. Requests that can be repeated without it (PUT, PATCH, DELETE, sign-out) and those whose answer holds a token take no Idempotency-Key. If-Match is for resources that have an ETag.",
  },
  invalid_credentials: {
    status: 401,
    title: "Wrong name or password",
    detail: "Incorrect email or password",
    remedy:
      "Check the e-mail address or username, and the password. Which of them is wrong is not said.",
  },
  not_signed_in: {
    status: 401,
    title: "Sign in first",
    detail: "Could not validate credentials",
    remedy:
      "Send an access token in the header: Authorization: Bearer <token>. A token in the URL is not read.",
  },
  invalid_token: {
    status: 401,
    title: "The access token is not valid",
    detail: "Could not validate credentials",
    remedy:
      "The token is expired, forged, for another service, its session has ended, or its account is not active. Sign in again.",
  },
  invalid_refresh_token: {
    status: 401,
    title: "The refresh token is not valid",
    detail: "Could not refresh the session",
    remedy:
      "The token was made up, spent, or its session has ended. Sign in again. Each refresh token is good once: keep the one that came with the last answer.",
  },
  reauthentication_required: {
    status: 401,
    title: "Prove again who you are",
    detail: "Send current_password, or sign in again",
    remedy:
      "This needs a sign-in that is less than 10 minutes old, or the account's password in current_password (RFC 9470).",
  },
  account_inactive: {
    status: 403,
    title: "The account is deactivated",
    detail: "This account is deactivated",
    remedy:
      "The password was right, but the account is switched off. Only an administrator can switch it on.",
  },
  email_not_verified: {
    status: 403,
    title: "The address is not proven yet",
    detail: "Confirm your e-mail address first",
    remedy:
      "The password was right. Open the link in the mail that came after registering, or have it mailed again by POST /api/v1/auth/email/verify/resend.",
  },
  email_sign_in_off: {
    status: 403,
    title: "Nobody signs in by mail here",
    detail: "Signing in by mail is switched off",
    remedy: "Sign in by password. Whoever runs the service can switch it on: EMAIL_SIGN_IN=on.",
  },
  cross_site_request: {
    status: 403,
    title: "The form comes from another site",
    detail: "This origin may not send forms here",
    remedy:
      "A browser says that a page of another site sent this form. Send it from a page of this service, or list the origin of that page in CORS_ORIGINS.",
  },
  forbidden: {
    status: 403,
    title: "You may not do this",
    detail: "The user doesn't have enough privileges",
    remedy: "This needs a superuser. Ask one, or sign in as one.",
  },
  registration_closed: {
    status: 403,
    title: "Registration is closed",
    detail: "Registration is closed",
    remedy:
      "This service does not let people register. An administrator can make an account for you.",
  },
  not_found: {
    status: 404,
    title: "Nothing here",
    detail: "Not found",
    remedy: "Check the path and the id. What you may not see looks just like what does not exist.",
  },
  method_not_allowed: {
    status: 405,
    title: "Not with this method",
    detail: "Method not allowed",
    remedy: "The path exists, but not for this method. The Allow header lists those it has.",
  },
  email_taken: {
    status: 409,
    title: "That email is taken",
    detail: "User with this email already exists",
    remedy: "Sign in with it, or use another address. Case does not tell two addresses apart.",
  },
  username_taken: {
    status: 409,
    title: "That username is taken",
    detail: "User with this username already exists",
    remedy: "Choose another one. Case does not tell two usernames apart.",
  },
  last_superuser: {
    status: 409,
    title: "The last superuser must stay",
    detail: "This is the last active superuser",
    remedy: "Make somebody else a superuser first; then this one can be demoted or deactivated.",
  },
  request_timeout: {
    status: 408,
    title: "The request took too long to arrive",
    detail: "The body did not arrive in time",
    remedy: "Nothing has happened: send it again, over a better connection.",
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
    detail: "This link is not valid any more",
    remedy:
      "A mailed link works once and for a while, and ends when the account gets another address. Ask for another one.",
  },
  invalid_code: {
    status: 400,
    title: "The code is not valid",
    detail: "This code is not valid",
    remedy:
      "A mailed code works once, for ten minutes, for five tries, and only until another one is mailed. The link in the same mail still works. Or ask for another code.",
  },
  stale: {
    status: 412,
    title: "The resource has changed",
    detail: "The resource has changed since you read it",
    remedy: "If-Match names an earlier version (ETag). Fetch the resource again and retry.",
  },
  request_in_progress: {
    status: 409,
    title: "The same request is being worked on",
    detail: "A request with this Idempotency-Key is being worked on",
    remedy: "Send it again in a moment, with the same key: then it gets the answer of the first.",
  },
  unsupported_media_type: {
    status: 415,
    title: "Not this content type",
    detail: "Send the body as application/json, or as a form where one is taken",
    remedy:
      "Set the header Content-Type: application/json. Signing in and OAuth's endpoints take application/x-www-form-urlencoded as well.",
  },
  invalid_request: {
    status: 422,
    title: "The request does not fit",
    detail: "The request does not fit the schema",
    remedy:
      "Each entry of `errors` points to one thing (JSON Pointer, RFC 6901) and says what is wrong with it.",
  },
  internal: {
    status: 500,
    title: "Something broke on our side",
    detail: "An unexpected error occurred",
    remedy:
      "Try again later. Whoever runs the service finds the cause in its log, by the request id.",
  },
  invalid_client: {
    status: 401,
    title: "The client is not known",
    detail: "Client authentication failed",
    remedy:
      "Send client_id and client_secret by HTTP Basic or in the form, not both. `bunker clients list` shows the clients; `bunker clients rotate` gives one another secret.",
  },
  unauthorized_client: {
    status: 400,
    title: "Not for this client",
    detail: "This is not for this client",
    remedy:
      "Sessions belong to the public client: send no client_secret. A confidential client uses client_credentials, and revokes its own tokens only.",
  },
  unsupported_grant_type: {
    status: 400,
    title: "There is no such grant",
    detail: "This grant type is not supported",
    remedy:
      "/.well-known/oauth-authorization-server lists the grants. The password grant is off unless OAUTH_PASSWORD_GRANT=on.",
  },
  invalid_scope: {
    status: 400,
    title: "There is no such scope",
    detail: "The scope is unknown",
    remedy: "Leave scope out: there are no scopes yet.",
  },
  idempotency_key_reused: {
    status: 422,
    title: "The Idempotency-Key stands for another request",
    detail: "This Idempotency-Key was used with another body",
    remedy: "Make a new key for each request, and send the same one only with the same body.",
  },
  next_key_too_new: {
    status: 409,
    title: "The next key is too new",
    detail:
      "The next key was published less than ten minutes ago, and whoever verifies tokens may not know it yet: wait, or rotate with --now",
    remedy: "Wait ten minutes; or, because a key has leaked: bunker keys rotate --now.",
  },
  other_secret_key: {
    status: 409,
    title: "The keys were made under another SECRET_KEY",
    detail: "The keys were made under another SECRET_KEY than this one",
    remedy: "Run this with the servers' SECRET_KEY and SECRET_KEYS.",
  },
  key_in_use: {
    status: 409,
    title: "The key is in use",
    detail: "This key is the current one of its algorithm",
    remedy:
      "Rotate first: bunker keys rotate, with the ALGORITHM of this key. Then retire this one.",
  },
  too_many_requests: {
    status: 429,
    title: "Too many requests",
    detail: "Too many requests",
    remedy:
      "A limit is met: the header RateLimit says which one. Nothing was done. Try again after the seconds that Retry-After names. Where sign-ins are limited because somebody guesses at the account, a client that has signed in before still may: it sends the device token that it got then.",
  },
  busy: {
    status: 503,
    title: "Too many sign-ins at once",
    detail: "Too many passwords are being checked",
    remedy:
      "Nothing was done. Try again after the seconds that Retry-After names; whoever is signed in already notices nothing of it.",
  },
  database_unavailable: {
    status: 503,
    title: "The database is unavailable",
    detail: "The database cannot be reached",
    remedy:
      "Try again after the seconds that Retry-After names. What was being changed may or may not have been done: look first.",
  },
} as const satisfies Record<
  string,
  { status: number; title: string; detail: string; remedy: string }
>;

export type ProblemCode = keyof typeof problems;

/** What can be wrong with one field of a request: the code and the default detail. */
export const fieldProblems = {
  missing: "is missing",
  unknown_field: "has a field that is not known here",
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
    "is made of your own e-mail address, username or name, or of the name of this service",
} as const;
export type FieldProblemCode = keyof typeof fieldProblems;
