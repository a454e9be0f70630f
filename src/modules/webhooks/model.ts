import { t } from "elysia";
import { readBy } from "../../http/readers.ts";
import { resourceFields, resourceFieldsOf } from "../../http/resource.ts";
import { integer, literals, text } from "../../http/schemas.ts";
import { eventTypes } from "../../kit/event-types.ts";
import { readLine } from "../../kit/names.ts";
import { accept } from "../../kit/problem.ts";
import { readWebhookUrl } from "../../kit/webhook-url.ts";
import { readTime } from "../events/query.ts";
import type { Attempt } from "./attempt.ts";
import type { Delivery } from "./claims.ts";
import { type DeliveryState, deliveryStates } from "./deliveries.ts";
import { ALL_EVENTS, type Webhook, type WebhookChanges } from "./webhooks.ts";

const TYPES_MAX = 200;
const fields = {
  url: t.String({
    minLength: 1,
    maxLength: 2048,
    ...readBy((value, { config }) => readWebhookUrl(value, config)),
    description:
      "https and a public host. The setting `WEBHOOKS_ALLOW` names receivers that may be private or use http.",
  }),
  events: t.Array(literals([...eventTypes, ALL_EVENTS]), {
    minItems: 1,
    maxItems: TYPES_MAX,
    description: "Event types, or `*` for all of them, also of later versions.",
  }),
};
const options = {
  description: t.Nullable(
    text({ minLength: 1, maxLength: 200 }),
    readBy((value) => readLine("/description", value, 200)),
  ),
  enabled: t.Boolean({
    description: "If false, nothing is sent; events wait, as long as they are stored.",
  }),
  ordered: t.Boolean({
    description:
      "If true, events are sent one at a time, in their order. An event that fails holds back the later ones.",
  }),
};
const example = {
  url: "https://example.com/webhooks/bunker",
  events: ["user.created" as const, "user.deleted" as const],
  description: "Customer records",
};

export const NewWebhookBody = t.Object(
  { ...fields, ...t.Partial(t.Object(options)).properties },
  { additionalProperties: false, examples: [example] },
);

export const WebhookChangesBody = t.Partial(t.Object({ ...fields, ...options }), {
  additionalProperties: false,
  description: "A field that is left out does not change.",
  examples: [{ enabled: true }],
});

/** Maps wire names to domain names. */
export const webhookChangesOf = (body: typeof WebhookChangesBody.static) =>
  ({
    url: body.url,
    events: body.events,
    description: body.description,
    isEnabled: body.enabled,
    isOrdered: body.ordered,
  }) satisfies Record<keyof WebhookChanges, unknown>;

const maybeTime = (description: string) =>
  t.Nullable(t.String({ format: "date-time", description }));

const shown = {
  ...resourceFields,
  url: t.String(),
  events: t.Array(t.String()),
  description: t.Nullable(t.String()),
  enabled: t.Boolean(),
  ordered: t.Boolean(),
  disabled_reason: t.Nullable(t.String({ description: "Why Bunker disabled it." })),
  failing_since: maybeTime(
    "Set if an event failed five times, with no success since: when that event was queued.",
  ),
  previous_secret_until: maybeTime("Until when the previous secret signs too, after a rotation."),
};
export const WebhookView = t.Object(shown, {
  title: "Webhook",
  description: "A URL to which events are sent.",
});

export const webhookView = (webhook: Webhook) => ({
  ...resourceFieldsOf(webhook),
  url: webhook.url,
  events: webhook.events,
  description: webhook.description,
  enabled: webhook.isEnabled,
  ordered: webhook.isOrdered,
  disabled_reason: webhook.disabledReason,
  failing_since: webhook.failingSince?.toISOString() ?? null,
  previous_secret_until: webhook.previousSecretUntil?.toISOString() ?? null,
});

/** The only responses with the secret: they follow its creation. */
export const WebhookWithSecretView = t.Object(
  {
    ...shown,
    secret: t.String({
      description: "Verifies deliveries (Standard Webhooks). It is not shown again.",
    }),
  },
  { title: "WebhookWithSecret" },
);

interface Outcome {
  responseStatus: number | null;
  responseBody: string | null;
  durationMs: number | null;
  error: string | null;
}

const outcome = {
  response_status: t.Nullable(integer()),
  response_body: t.Nullable(t.String({ description: "The first 1 KiB of the response." })),
  error: t.Nullable(t.String({ description: "Why there was no response." })),
  duration_ms: t.Nullable(integer()),
};
const outcomeOf = ({ responseStatus, responseBody, error, durationMs }: Outcome) => ({
  response_status: responseStatus,
  response_body: responseBody,
  error,
  duration_ms: durationMs,
});

export const DeliveryView = t.Object(
  {
    id: t.String({ format: "uuid" }),
    event_id: t.String({ format: "uuid", description: "The header `webhook-id`." }),
    event_type: t.String(),
    state: literals(deliveryStates),
    attempts: integer({ description: "Since it was queued, or queued again." }),
    next_attempt_at: maybeTime("When it is tried next, if it waits."),
    created_at: t.String({ format: "date-time" }),
    ended_at: maybeTime("When it was delivered or given up."),
    ...outcome,
  },
  {
    title: "WebhookDelivery",
    description:
      "An event that is or was sent to a webhook, with the outcome of its latest attempt. `dropped`: not sent, because the event is no longer stored.",
  },
);

export const deliveryView = (delivery: Delivery) => ({
  id: delivery.id,
  event_id: delivery.eventId,
  event_type: delivery.eventType,
  state: delivery.state as DeliveryState,
  attempts: delivery.attempts,
  next_attempt_at: delivery.state === "waiting" ? delivery.dueAt.toISOString() : null,
  created_at: delivery.createdAt.toISOString(),
  ended_at: delivery.endedAt?.toISOString() ?? null,
  ...outcomeOf(delivery),
});

export const TestView = t.Object(
  {
    delivered: t.Boolean({ description: "Whether the receiver answered with a status of 2xx." }),
    ...outcome,
  },
  { title: "WebhookTest" },
);

export const testView = (attempt: Attempt) => ({
  delivered: attempt.isSuccess,
  ...outcomeOf(attempt),
});

export const ReplayBody = t.Object(
  {
    after: t.Optional(
      t.String({
        minLength: 32,
        maxLength: 32,
        description: "A cursor: the `sequence` of the last event that is not sent again.",
      }),
    ),
    since: t.Optional(
      t.String({
        ...readBy((value) => readTime("/since", value)),
        description: "Events of this time (RFC 3339) or later are sent again.",
      }),
    ),
  },
  {
    additionalProperties: false,
    description: "Either `after` or `since`.",
    examples: [{ since: "2026-01-31T00:00:00Z" }],
  },
);

/** Maps wire names to domain names. */
export const replayStartOf = ({ after, since }: typeof ReplayBody.static) => ({
  after,
  ...accept({ since: since === undefined ? undefined : readTime("/since", since) }),
});

export const ReplayView = t.Object(
  { after: t.String({ description: "The cursor after which events are sent again." }) },
  { title: "WebhookReplay" },
);
