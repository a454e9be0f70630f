import { productEvents } from "../product/event-types.ts";
import { type DataOf, defineEvent, names, text, uuid } from "./event-schema.ts";
import { joinTables } from "./join.ts";

const sessionId = uuid("The session.");
const ofSession = {
  data: { session_id: sessionId },
  example: { session_id: "019aac30-6d1b-7c32-8a55-1f0e9b7d4c21" },
};
const ofKey = { data: { kid: text("The id of the key.") }, example: { kid: "o3Tq0Vw1" } };

/**
 * Every event type. The types of TypeScript, the checks, docs/events.md and the webhooks of the
 * OpenAPI document come from this list.
 */
const bunkerEvents = {
  "user.created": defineEvent({ about: "user", when: "A user was created." }),
  "user.updated": defineEvent({
    about: "user",
    when: "The profile, the state or the superuser flag was changed.",
    data: { fields: names("The names of the fields whose values changed.") },
    example: { fields: ["full_name"] },
  }),
  "user.deleted": defineEvent({ about: "user", when: "The user was deleted." }),
  "user.unlocked": defineEvent({
    about: "user",
    when: "Failed sign-ins were cleared, so that unknown clients can sign in again.",
  }),
  "password.changed": defineEvent({
    about: "user",
    when: "The user, a mailed link or the operator set a new password.",
  }),
  "email.verified": defineEvent({ about: "user", when: "The email was verified." }),
  "email.changed": defineEvent({
    about: "user",
    when: "The email was replaced by a verified one.",
  }),
  "email.restored": defineEvent({
    about: "user",
    when: "The previous email was restored by the link that was mailed to it.",
  }),
  "session.started": defineEvent({ about: "user", when: "The user signed in.", ...ofSession }),
  "session.ended": defineEvent({
    about: "user",
    when: "The session was ended: by a sign-out, a new password, a deactivation, or because the user has too many sessions.",
    ...ofSession,
  }),
  "session.reuse_detected": defineEvent({
    about: "user",
    when: "A spent refresh token was used again, after the grace period or by another client, so two parties have it. The session was ended.",
    ...ofSession,
  }),
  "session.refresh_retried": defineEvent({
    about: "user",
    when: "A client sent a refresh token again that it had just spent, and got the same successor. Recorded up to 20 times an hour for each user.",
    ...ofSession,
  }),
  "client.created": defineEvent({ about: "OAuth client", when: "An OAuth client was created." }),
  "client.secret_rotated": defineEvent({
    about: "OAuth client",
    when: "The OAuth client got another secret. The previous one still works.",
  }),
  "client.rotation_finished": defineEvent({
    about: "OAuth client",
    when: "The previous secret was revoked.",
  }),
  "client.deleted": defineEvent({ about: "OAuth client", when: "The OAuth client was deleted." }),
  "webhook.created": defineEvent({ about: "webhook", when: "A webhook was created." }),
  "webhook.updated": defineEvent({
    about: "webhook",
    when: "A field of the webhook was changed.",
    data: { fields: names("The names of the fields whose values changed.") },
    example: { fields: ["enabled"] },
  }),
  "webhook.secret_rotated": defineEvent({
    about: "webhook",
    when: "The webhook got another secret. The previous one signs too for 24 hours.",
  }),
  "webhook.replayed": defineEvent({
    about: "webhook",
    when: "Events after an earlier one are sent to the webhook again.",
    data: { after: text("The cursor after which they begin.") },
    example: { after: "00000000000003e9000000000000002a" },
  }),
  "webhook.disabled": defineEvent({
    about: "webhook",
    when: "Bunker disabled the webhook, because its receiver accepted no event for 3 days or is gone (410).",
    data: { reason: text("The reason, as a sentence.") },
    example: { reason: "No event could be delivered for 3 days." },
  }),
  "webhook.deleted": defineEvent({ about: "webhook", when: "The webhook was deleted." }),
  "key.rotated": defineEvent({
    about: "none",
    when: "Another key signs access tokens from now on.",
    ...ofKey,
  }),
  "key.retired": defineEvent({
    about: "none",
    when: "Tokens of this key are refused from now on.",
    ...ofKey,
  }),
};

export const eventDefinitions = joinTables(bunkerEvents, productEvents);
export type EventType = keyof typeof eventDefinitions;
export type EventData<T extends EventType> = DataOf<(typeof eventDefinitions)[T]>;
export const eventTypes = Object.keys(eventDefinitions) as EventType[];
export const isEventType = (name: string): name is EventType =>
  Object.hasOwn(eventDefinitions, name);
