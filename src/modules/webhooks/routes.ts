import { Elysia, t } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { tagged, targetOf, unlessKnown } from "../../http/etag.ts";
import { guard } from "../../http/guard.ts";
import { PageQuery, readPage } from "../../http/pagination.ts";
import { bodyProblems, fails, tokenProblems } from "../../http/problems.ts";
import { created } from "../../http/resource.ts";
import { ById, literals } from "../../http/schemas.ts";
import { deliveryStates, listDeliveries, redeliver } from "./deliveries.ts";
import {
  DeliveryView,
  deliveryView,
  NewWebhookBody,
  ReplayBody,
  ReplayView,
  replayStartOf,
  TestView,
  testView,
  WebhookChangesBody,
  WebhookView,
  WebhookWithSecretView,
  webhookChangesOf,
  webhookView,
} from "./model.ts";
import { replay } from "./replay.ts";
import { testWebhook } from "./test-message.ts";
import {
  createWebhook,
  deleteWebhook,
  getWebhook,
  listWebhooks,
  rotateSecret,
  updateWebhook,
} from "./webhooks.ts";

const callerProblems = [...tokenProblems, "forbidden"] as const;
const itemProblems = [...callerProblems, "not_found", "invalid_request"] as const;

export const webhookRoutes = (ctx: Ctx) =>
  new Elysia({ name: "webhooks", prefix: "/webhooks", tags: ["webhooks"] })
    .use(guard(ctx))
    .get(
      "",
      async ({ actor, query, request, set }) => {
        const rows = await readPage({ query, request, set }, listWebhooks(ctx, actor));
        return rows.map(webhookView);
      },
      {
        superuser: true,
        detail: {
          operationId: "listWebhooks",
          summary: "List webhooks",
          description: "Newest first.",
        },
        query: PageQuery,
        response: { 200: t.Array(WebhookView), ...fails(...callerProblems, "invalid_request") },
      },
    )
    .post(
      "",
      async ({ actor, body, request, set }) => {
        const input = { ...webhookChangesOf(body), url: body.url, events: body.events };
        const { webhook, secret } = await createWebhook(ctx, actor, input);
        return created({ request, set }, webhook, (one) => ({ ...webhookView(one), secret }));
      },
      {
        superuser: true,
        responseHeaders: ["etag"],
        detail: {
          operationId: "createWebhook",
          summary: "Create a webhook",
          description:
            "It gets the events that are recorded from now on. The response has its secret, which is not shown again.",
        },
        body: NewWebhookBody,
        response: {
          201: WebhookWithSecretView,
          ...fails(...callerProblems, ...bodyProblems, "too_many_webhooks"),
        },
      },
    )
    .get(
      "/:id",
      async ({ actor, params, headers, set }) =>
        unlessKnown({ headers, set }, await getWebhook(ctx, actor, params.id), webhookView),
      {
        superuser: true,
        requestHeaders: ["if-match", "if-none-match"],
        detail: { operationId: "getWebhook", summary: "Get a webhook" },
        params: ById,
        response: { 200: WebhookView, 304: t.Void(), ...fails(...itemProblems, "stale") },
      },
    )
    .patch(
      "/:id",
      async ({ actor, params, body, headers, set }) => {
        const input = { ...targetOf({ params, headers }), ...webhookChangesOf(body) };
        return webhookView(tagged(set, await updateWebhook(ctx, actor, input)));
      },
      {
        superuser: true,
        requestHeaders: ["if-match"],
        detail: {
          operationId: "updateWebhook",
          summary: "Update a webhook",
          description:
            "JSON Merge Patch (RFC 7396). With another URL, or enabled again, waiting events are tried at once, and their three days begin again.",
        },
        params: ById,
        body: WebhookChangesBody,
        response: { 200: WebhookView, ...fails(...itemProblems, ...bodyProblems, "stale") },
      },
    )
    .delete(
      "/:id",
      async ({ actor, params, headers, status }) => {
        await deleteWebhook(ctx, actor, targetOf({ params, headers }));
        return status(204, undefined);
      },
      {
        superuser: true,
        requestHeaders: ["if-match"],
        detail: {
          operationId: "deleteWebhook",
          summary: "Delete a webhook",
          description: "Also deletes its deliveries: waiting events are not sent.",
        },
        params: ById,
        response: { 204: t.Void(), ...fails(...itemProblems, "stale") },
      },
    );

export const webhookActionRoutes = (ctx: Ctx) =>
  new Elysia({ name: "webhook-actions", prefix: "/webhooks", tags: ["webhooks"] })
    .use(guard(ctx))
    .post(
      "/:id/test",
      async ({ actor, params }) => testView(await testWebhook(ctx, actor, params.id)),
      {
        superuser: true,
        detail: {
          operationId: "testWebhook",
          summary: "Send a test message",
          description:
            "Sends a `webhook.test` message now, for 4 seconds at most, also if the webhook is disabled. The log of deliveries does not have it.",
        },
        params: ById,
        response: { 200: TestView, ...fails(...itemProblems, ...bodyProblems) },
      },
    )
    .post(
      "/:id/rotate-secret",
      async ({ actor, params, set }) => {
        const { webhook, secret } = await rotateSecret(ctx, actor, params.id);
        return { ...webhookView(tagged(set, webhook)), secret };
      },
      {
        superuser: true,
        detail: {
          operationId: "rotateWebhookSecret",
          summary: "Rotate the secret",
          description:
            "The response has the new secret, which is not shown again. For 24 hours, deliveries are signed with both.",
        },
        responseHeaders: ["etag"],
        params: ById,
        response: { 200: WebhookWithSecretView, ...fails(...itemProblems, ...bodyProblems) },
      },
    )
    .post(
      "/:id/replay",
      async ({ actor, params, body, status }) => {
        const after = await replay(ctx, actor, { id: params.id, ...replayStartOf(body) });
        return status(202, { after });
      },
      {
        superuser: true,
        detail: {
          operationId: "replayWebhook",
          summary: "Send earlier events again",
          description:
            "Sends the events after a cursor or since a time again, with the same ids, also those that were delivered. Events cannot be skipped: a cursor later than the next event gets 422.",
        },
        params: ById,
        body: ReplayBody,
        response: {
          202: ReplayView,
          ...fails(...itemProblems, ...bodyProblems, "cursor_expired"),
        },
      },
    )
    .get(
      "/:id/deliveries",
      async ({ actor, params, query, request, set }) => {
        const which = { webhookId: params.id, state: query.state };
        const list = await listDeliveries(ctx, actor, which);
        return (await readPage({ query, request, set }, list)).map(deliveryView);
      },
      {
        superuser: true,
        detail: {
          operationId: "listWebhookDeliveries",
          summary: "List deliveries",
          description: "Newest first. Kept for 30 days.",
        },
        params: ById,
        query: t.Object(
          { ...PageQuery.properties, state: t.Optional(literals(deliveryStates)) },
          { additionalProperties: false },
        ),
        response: { 200: t.Array(DeliveryView), ...fails(...itemProblems) },
      },
    )
    .post(
      "/:id/deliveries/:delivery_id/redeliver",
      async ({ actor, params, status }) => {
        const target = { id: params.delivery_id, webhookId: params.id };
        return status(202, deliveryView(await redeliver(ctx, actor, target)));
      },
      {
        superuser: true,
        detail: {
          operationId: "redeliverWebhook",
          summary: "Send an event again",
          description:
            "Sends it with the same id, whatever the state of the delivery, once the webhook is enabled. Its three days begin again.",
        },
        params: t.Object({ id: ById.properties.id, delivery_id: ById.properties.id }),
        response: { 202: DeliveryView, ...fails(...itemProblems, ...bodyProblems) },
      },
    );
