/** Allows `quota` requests at once. Every `periodSeconds`, `refill` of them come back. */
export interface Policy {
  quota: number;
  refill: number;
  periodSeconds: number;
}

/** The seconds after which a full counter is back at zero. */
export const windowSecondsOf = ({ quota, refill, periodSeconds }: Policy): number =>
  Math.ceil(quota / refill) * periodSeconds;

/**
 * Whether Redis counts a limit while it is available. A limit with a longer window stays in
 * PostgreSQL, because a counter that Redis loses starts at zero.
 */
export const isForRedis = (policy: Policy): boolean => windowSecondsOf(policy) <= HOUR;

const window = (quota: number, periodSeconds: number): Policy => ({
  quota,
  refill: quota,
  periodSeconds,
});
const MINUTE = 60;
const QUARTER = 15 * MINUTE;
const TEN_MINUTES = 10 * MINUTE;
const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
const WINDOW_MAX_SECONDS = 3_650 * DAY;

/**
 * Every limit, by its name in the RateLimit headers. docs/limits.md is printed from this list. A
 * known client is one that has signed in to the user before (it sends a device token).
 */
export const policies = {
  login: { quota: 10, refill: 5, periodSeconds: MINUTE },
  // A user has two identifiers, email and username, each with its own counter: together 30, and 100
  // in a streak (NIST SP 800-63B).
  "login-account": window(15, QUARTER),
  "login-streak": window(50, 90 * DAY),
  "login-address": window(100, QUARTER),
  register: window(20, HOUR),
  "refresh-session": window(30, MINUTE),
  "refresh-address": window(600, MINUTE),
  "mail-account": window(3, QUARTER),
  "mail-recipient": { quota: 10, refill: 1, periodSeconds: HOUR },
  "mail-address": window(20, HOUR),
  "email-code": window(5, TEN_MINUTES),
  "sign-ins": { quota: 100, refill: 1, periodSeconds: MINUTE },
  changes: { quota: 100, refill: 1, periodSeconds: 3 * MINUTE },
  requests: window(600, MINUTE),
  "requests-anonymous": window(1200, MINUTE),
} as const satisfies Record<string, Policy>;

/** Only a 429 reports them: another response would reveal what other clients do with the name. */
export const unreportedLimits: ReadonlySet<LimitName> = new Set([
  "login-account",
  "login-streak",
  "mail-account",
  "email-code",
] as LimitName[]);

export const limitDescriptions: Record<LimitName, string> = {
  login:
    "Sign-in attempts with one email or username from one IP, or to one user by one known client. Attempts with `current_password` in one session, and with a password sent together with a mailed link, count here too.",
  "login-account":
    "Failed sign-ins with one email or username, as typed, by unknown clients, from all IPs. Names that no user has count the same way.",
  "login-streak":
    "Failed sign-ins as in `login-account`, without a success in between. When the limit is reached, only known clients can sign in with that name, until one of them signs in, the user sets a new password, or a superuser or the operator unlocks the user (NIST SP 800-63B). A wrong `current_password` counts by session. When that limit is reached, sign in again.",
  "login-address":
    "Sign-in attempts by unknown clients from one IP, with passwords or codes, for any user.",
  register: "Registrations from one IP.",
  "refresh-session":
    "Refreshes of one session with tokens that this service issued, including retries and refused ones, also at `/oauth/token`.",
  "refresh-address":
    "Refreshes with other tokens from one IP: made-up ones, and those of a `SECRET_KEY` that was removed.",
  "mail-account":
    "Emails of one kind requested for one email, whether or not a user has it. Requests by known devices of its user count separately. Also registrations with that email, if `REQUIRE_EMAIL_VERIFICATION=on`, and changes of the email of one user.",
  "mail-address": "Emails requested from one IP, or by the known devices of one user.",
  "mail-recipient":
    "Emails of one kind sent to one email. Those that known devices of its user request count separately. No response shows this limit: a request beyond it is accepted, but no email is sent.",
  "email-code":
    "Codes tried for one email by unknown clients, whether or not a user has it, or by one known client.",
  "sign-ins": "Sign-ins of one user with the password, from all clients.",
  changes:
    "Changes that users make to their own profile or password. The two count separately. A request that changes nothing does not count.",
  requests:
    "All requests of one signed-in user, including those that another limit also counts. Some requests count by session instead: those with an expired, revoked or spent token that this service issued, on routes that require a token, and revocations of the session's tokens.",
  "requests-anonymous":
    "Requests that need an access token but have none or a made-up one, from one IP or from the known devices of one user. Opening a mailed link counts here too.",
};

export type LimitName = keyof typeof policies;
export type Policies = Record<LimitName, Policy>;

/** One request, counted against one limit of one user, IP, session and so on. */
export interface LimitUse {
  limit: LimitName;
  who: string;
  /** Counts in place of `who` when that has nothing remaining. */
  fallback?: string;
}

/**
 * A failed sign-in by an unknown client counts against the name as typed, never against its user.
 * So a name that no user has counts the same way (CWE-204).
 */
export const failuresOf = (identifierKey: string): LimitUse[] => [
  { limit: "login-account", who: identifierKey },
  { limit: "login-streak", who: identifierKey },
];

/**
 * Limits by IP that count a known client by its user first, because many people share an IP (NAT).
 * Not by device, because one user can have many. The others limit how fast new users, or guesses at
 * other users, come from one IP.
 */
export const byKnownUser: ReadonlySet<LimitName> = new Set<LimitName>([
  "mail-address",
  "requests-anonymous",
]);

/** The use of a limit by IP, or by the user of the known device. */
export function usesOf(
  limit: LimitName,
  origin: { clientKey: string | null; deviceUserId?: string | undefined } | undefined,
): LimitUse[] {
  if (!origin?.clientKey) return [];
  const { clientKey } = origin;
  const userId = byKnownUser.has(limit) ? origin.deviceUserId : undefined;
  return [
    userId ? { limit, who: `user ${userId}`, fallback: clientKey } : { limit, who: clientKey },
  ];
}

/** Two counts: a thief of an access token must not use up the changes of the password. */
export const changeOf = (userId: string, kind: "profile" | "password"): LimitUse => ({
  limit: "changes",
  who: `${kind} ${userId}`,
});

/** Each purpose counts apart, so that using up one blocks no other. */
export const mailUse = (purpose: string, who: string): LimitUse => ({
  limit: "mail-account",
  who: `${purpose} ${who}`,
});

/** What remains of a limit after a request, and the seconds until the next refill. */
export interface LimitState {
  limit: LimitName;
  policy: Policy;
  remaining: number;
  refillInSeconds: number;
  isGranted: boolean;
}

/** The counter of one key. `granted` is how much of its count the last request got. */
export interface Count {
  spent: number;
  granted: number;
  refillInSeconds: number;
}

/** A count to consume from one key, or as much of it as remains. */
export interface Consumption extends Policy {
  key: string;
  count: number;
}

/** Refunds the whole counter: more than any quota. */
export const ALL = 2 ** 31 - 1;

/** A count to refund to one key. `ALL` resets its counter. */
export interface Refund {
  key: string;
  count: number;
}

/** The limits that a route declares, and how their states reach the client (RateLimit headers). */
export interface LimitReport {
  limits: readonly LimitName[];
  addStates: (states: LimitState[]) => void;
}

/** How many requests a limit allows in 24 hours at most. */
export const perDay = ({ quota, refill, periodSeconds }: Policy): number =>
  quota + Math.floor((refill * DAY) / periodSeconds);

/** Formats policies as the setting LIMITS spells them. */
export const formatPolicies = (all: Policies): string =>
  Object.entries(all)
    .map(([name, { quota, refill, periodSeconds }]) =>
      quota === refill
        ? `${name}=${quota}/${periodSeconds}`
        : `${name}=${quota}+${refill}/${periodSeconds}`,
    )
    .join(", ");

/** Earlier names that LIMITS still accepts, and the present ones. */
export const renamedLimits: Record<string, LimitName> = {
  "requests-stranger": "requests-anonymous",
};

/** Reads `name=quota/seconds` or `name=quota+refill/seconds`, separated by commas or blanks. */
export function readPolicies(text: string): Policies {
  const found: Policies = { ...policies };
  for (const part of text.split(/[\s,]+/).filter((one) => one !== "")) {
    const [, given = "", quota = "", refill = quota, seconds = ""] =
      /^([a-z-]+)=(\d{1,7})(?:\+(\d{1,7}))?\/(\d{1,8})$/.exec(part) ?? [];
    const name = Object.hasOwn(renamedLimits, given) ? renamedLimits[given] : given;
    if (name === undefined || !Object.hasOwn(policies, name))
      throw new Error(
        `must be a list such as register=50/3600, login=10+5/60; the names are ${Object.keys(policies).join(", ")}`,
      );
    const policy = { quota: Number(quota), refill: Number(refill), periodSeconds: Number(seconds) };
    if (Object.values(policy).includes(0))
      throw new Error("must not have a 0, which would refuse every request");
    if (windowSecondsOf(policy) > WINDOW_MAX_SECONDS)
      throw new Error(`must refill ${name} completely within ten years`);
    found[name as LimitName] = policy;
  }
  return found;
}
