/** The tables of commands.md, errors.md and events.md. */
import { commands } from "../src/cli/commands.ts";
import { fieldProblems, problems } from "../src/kit/problem-codes.ts";
import type { EventType, NewEvent } from "../src/modules/events/events.ts";
import type { productEvents } from "../src/product/event-types.ts";
import { productProblems } from "../src/product/problem-codes.ts";

type BunkerEvent = Exclude<EventType, keyof typeof productEvents>;
/** The subject of an event, when it is recorded, and what its `data` has. */
type Meaning<T extends BunkerEvent> = {
  subject: "user" | "OAuth client" | "none";
  when: string;
  data: { [K in keyof NewEvent<T>["data"]]: string };
};
const events: { [T in BunkerEvent]: Meaning<T> } = {
  "user.created": { subject: "user", when: "A user was created.", data: {} },
  "user.updated": {
    subject: "user",
    when: "The profile, the state or the superuser flag was changed.",
    data: { fields: "names of the fields whose values changed" },
  },
  "user.deleted": { subject: "user", when: "The user was deleted.", data: {} },
  "user.unlocked": {
    subject: "user",
    when: "Failed sign-ins were cleared, so that unknown clients can sign in again.",
    data: {},
  },
  "password.changed": {
    subject: "user",
    when: "The user, a mailed link or the operator set a new password.",
    data: {},
  },
  "email.verified": { subject: "user", when: "The email was verified.", data: {} },
  "email.changed": { subject: "user", when: "The email was replaced by a verified one.", data: {} },
  "email.restored": {
    subject: "user",
    when: "The previous email was restored by the link that was mailed to it.",
    data: {},
  },
  "session.started": {
    subject: "user",
    when: "The user signed in.",
    data: { session_id: "id of the session" },
  },
  "session.ended": {
    subject: "user",
    when: "The session was ended: by a sign-out, a new password, a deactivation, or because the user has too many sessions.",
    data: { session_id: "id of the session" },
  },
  "session.reuse_detected": {
    subject: "user",
    when: "A spent refresh token was used again, so two parties have it. The session was ended.",
    data: { session_id: "id of the session" },
  },
  "session.refresh_retried": {
    subject: "user",
    when: "A client sent a refresh token again that it had just spent, and got the same successor. Recorded up to 20 times an hour for each user.",
    data: { session_id: "id of the session" },
  },
  "client.created": { subject: "OAuth client", when: "An OAuth client was created.", data: {} },
  "client.secret_rotated": {
    subject: "OAuth client",
    when: "The OAuth client got another secret. The previous one still works.",
    data: {},
  },
  "client.rotation_finished": {
    subject: "OAuth client",
    when: "The previous secret was revoked.",
    data: {},
  },
  "client.deleted": { subject: "OAuth client", when: "The OAuth client was deleted.", data: {} },
  "key.rotated": {
    subject: "none",
    when: "Another key signs access tokens from now on.",
    data: { kid: "id of the new key" },
  },
  "key.retired": {
    subject: "none",
    when: "Tokens of this key are refused from now on.",
    data: { kid: "id of the key" },
  },
};

export const eventsTable = () => [
  "| type | subject | recorded when | `data` |",
  "|---|---|---|---|",
  ...Object.entries(events).map(([type, { subject, when, data }]) => {
    const fields = Object.entries(data).map(([name, meaning]) => `\`${name}\`: ${meaning}`);
    return `| \`${type}\` | ${subject} | ${when} | ${fields.join("; ")} |`;
  }),
];

export const errorsTable = () => [
  "| status | code | title | what to do |",
  "|---|---|---|---|",
  ...Object.entries(problems)
    .filter(([code]) => !(code in productProblems))
    .sort(([, a], [, b]) => a.status - b.status)
    .map(
      ([code, { status, title, remedy }]) =>
        `| ${status} | \`${code}\` | ${title} | ${remedy.replaceAll("<", "\\<")} |`,
    ),
];

export const fieldsTable = () => [
  "| code | the part of the request |",
  "|---|---|",
  ...Object.entries(fieldProblems).map(([code, detail]) => `| \`${code}\` | ${detail} |`),
];

export const commandsTable = () => [
  "| command | what it does |",
  "|---|---|",
  ...rowsOf(commands, "bunker"),
];

/** Of a command or a group of commands, as the parser has them. */
type Route = ReturnType<typeof commands.getAllEntries>[number]["target"];
function rowsOf(route: Route, name: string): string[] {
  if ("getAllEntries" in route)
    return route
      .getAllEntries()
      .flatMap((entry) => rowsOf(entry.target, `${name} ${entry.name.original}`));
  const flags = Object.entries(route.parameters.flags ?? {}).map(([flag, { kind, placeholder }]) =>
    kind === "parsed" ? `[--${flag} ${placeholder ?? "VALUE"}]` : `[--${flag}]`,
  );
  const { positional } = route.parameters;
  const words = positional?.kind === "tuple" ? positional.parameters : [];
  const args = words.map(({ placeholder, optional }) =>
    optional ? `[${placeholder}]` : `${placeholder}`,
  );
  return [`| \`${[name, ...args, ...flags].join(" ")}\` | ${route.brief} |`];
}
