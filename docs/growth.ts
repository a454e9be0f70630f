import { perDay, policies } from "../src/limits/policies.ts";

/** `session.refresh_retried` events of one user: 20 an hour (`modules/sessions/refresh`). */
const RETRIES = 480;

const day = (name: keyof typeof policies): number => perDay(policies[name]);
/**
 * Mails of one kind, such as links to sign in. Twice the limit, because mails that known devices
 * request count apart.
 */
const MAILS_TO_ONE_EMAIL = 2 * day("mail-recipient");
const [changes, signIns, emails] = [day("changes"), day("sign-ins"), day("mail-account")];
const sessions = signIns + MAILS_TO_ONE_EMAIL;
const EVENTS_OF_A_LINK = 4;
const EVENT_BYTES = 900;
const events =
  2 * changes + 2 * sessions + RETRIES + EVENTS_OF_A_LINK * (MAILS_TO_ONE_EMAIL + 2 * emails);
const OWN_LIMITS = 6;
const LIMITS_OF_A_SESSION = 4;
const ROWS_OF_A_NAME = 3;
const n = (count: number) => count.toLocaleString("en-US");

interface Growth {
  byUser: string;
  byIp: string;
  kept: string;
}

/** How many rows each table gets in 24 hours at most, with the default limits. */
export const growth: Record<string, Growth> = {
  users: {
    byUser: `none; ${n(changes)} updates of the profile and ${n(changes)} of the password (\`changes\`)`,
    byIp: `${n(day("register"))} (\`register\`)`,
    kept: "until deleted",
  },
  registrations: {
    byUser: "none",
    byIp: `${n(day("register") + day("mail-address"))} (\`register\`, \`mail-address\`), if \`REQUIRE_EMAIL_VERIFICATION=on\`; 30 for one email`,
    kept: "until verified, or a week; the link that was mailed last is kept until it expires",
  },
  sessions: {
    byUser: `${n(sessions)}: ${n(signIns)} by password (\`sign-ins\`), ${MAILS_TO_ONE_EMAIL} by mail (\`mail-recipient\`); ${n(day("refresh-session"))} updates of each session (\`refresh-session\`)`,
    byIp: "none without a password or a mailed link",
    kept: "`SESSIONS_PER_ACCOUNT` of one user at most",
  },
  events: {
    byUser: `${n(events)}: ${n(2 * changes)} changes, 2 for each session, ${RETRIES} retried refreshes, ${EVENTS_OF_A_LINK} for each mailed link that is opened`,
    byIp: `${n(day("register"))} (\`register\`)`,
    kept: "`EVENTS_RETENTION_DAYS`",
  },
  limits: {
    byUser: `${n(OWN_LIMITS + LIMITS_OF_A_SESSION * sessions + 2 * emails)}: ${OWN_LIMITS} of the user, ${LIMITS_OF_A_SESSION} for each session or device, 2 for each email change`,
    byIp: `${n(ROWS_OF_A_NAME * day("login-address"))} for made-up names (\`login-address\`), one for made-up refresh tokens (\`refresh-address\`), ${n(2 * day("mail-address"))} for links`,
    kept: "until ten minutes after the count is back at zero, which takes a minute for made-up refresh tokens and 90 days for failed sign-ins, also with made-up names; at most 1,000,000 rows",
  },
  one_time_secrets: {
    byUser: `${n(2 * emails)} for email changes and for undoing them (\`mail-account\`)`,
    byIp: `${n(day("mail-address") + day("register"))} (\`mail-address\`, \`register\`); ${MAILS_TO_ONE_EMAIL} for one email (\`mail-recipient\`)`,
    kept: "until a minute after use, or until expired: a week at most",
  },
  mail_requests: {
    byUser: `${n(emails)} (\`mail-account\`)`,
    byIp: `${n(day("mail-address") + day("register"))} (\`mail-address\`, \`register\`)`,
    kept: "seconds",
  },
  mails: {
    byUser: `${n(2 * emails + changes + sessions + MAILS_TO_ONE_EMAIL)}: one for each link, new password and sign-in from a new device; ${MAILS_TO_ONE_EMAIL} to one email (\`mail-recipient\`)`,
    byIp: `${n(day("mail-address") + day("register"))} (\`mail-address\`, \`register\`)`,
    kept: "30 days after they were sent or dead, or became due without a mail server; a week if they are about no user",
  },
  idempotency: {
    byUser: `${n(emails)} for email changes (\`mail-account\`)`,
    byIp: `${n(day("register") + day("mail-address"))} (\`register\`, \`mail-address\`), and 1 for each mailed link: a refused request that consumes no limit leaves no row`,
    kept: "a day",
  },
  event_cursors: { byUser: "none", byIp: "none", kept: "one for each reader of all events" },
  webhooks: {
    byUser: "none; a superuser adds up to 100 in all",
    byIp: "none",
    kept: "until deleted",
  },
  webhook_deliveries: {
    byUser: "one for each event and webhook that wants it",
    byIp: "one for each event and webhook that wants it",
    kept: "a month; at most some 10,000 of a webhook wait, further events wait in `events`",
  },
  erasures: {
    byUser: "one, when the user is deleted",
    byIp: "none",
    kept: "until the events of the deleted user are erased: minutes",
  },
  signing_keys: { byUser: "none", byIp: "none", kept: "only commands add them" },
  key_uses: { byUser: "none", byIp: "none", kept: "one for each signing key" },
  revoked_tokens: {
    byUser: "none",
    byIp: "none; an OAuth client adds one for each own token that it revokes",
    kept: "until the token expires",
  },
  clients: { byUser: "none", byIp: "none", kept: "only commands add them" },
};

/** The lines of the block `growth` in docs/limits.md. */
export const growthLines = (): string[] => [
  `An event takes some ${EVENT_BYTES} bytes with its indexes, so one user fills ${Math.ceil((events * EVENT_BYTES) / 1_000_000)} MB of events a day at most.`,
  `A superuser's changes to other users are bounded by \`requests\` alone: ${n(day("requests"))} events.`,
  "",
  "| table | rows that one user adds | rows that one client IP adds | kept |",
  "|---|---|---|---|",
  ...Object.entries(growth).map(
    ([table, { byUser, byIp, kept }]) => `| \`${table}\` | ${byUser} | ${byIp} | ${kept} |`,
  ),
];
