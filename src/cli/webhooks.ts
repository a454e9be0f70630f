import type { Ctx } from "../ctx.ts";
import { describePlace } from "../db/explain.ts";
import type { PageStart } from "../db/page.ts";
import { Exit } from "../kit/exit.ts";
import { isId } from "../kit/id.ts";
import type { Delivery } from "../modules/webhooks/claims.ts";
import {
  type DeliveryState,
  deliveryStates,
  listDeliveries,
  redeliver as redeliverOne,
} from "../modules/webhooks/deliveries.ts";
import { deliveryView, testView, webhookView } from "../modules/webhooks/model.ts";
import { testWebhook } from "../modules/webhooks/test-message.ts";
import {
  ALL_EVENTS,
  createWebhook,
  deleteWebhook,
  getWebhook,
  listWebhooks,
  rotateSecret,
  updateWebhook,
  type Webhook,
} from "../modules/webhooks/webhooks.ts";
import { type JsonFlag, printAnswer, printList } from "../terminal.ts";
import { typesIn } from "./events.ts";
import { changeDatabase, readDatabase } from "./with-database.ts";

const operator = { kind: "operator" } as const;
const LISTED_MAX = 200;
const firstPage = { start: { skip: 0 }, limit: LISTED_MAX } satisfies {
  start: PageStart;
  limit: number;
};

export const list = ({ json: isJson }: JsonFlag) =>
  readDatabase(async (ctx) =>
    printList(await listWebhooks(ctx, operator).rows(firstPage), isJson, {
      json: webhookView,
      text: lineOf,
      empty: "There is no webhook. Create one: bunker webhooks create URL",
    }),
  );

const lineOf = (webhook: Webhook) =>
  `${webhook.id}  ${stateOf(webhook).padEnd(8)}  ${webhook.url}  ${webhook.events.join(",")}${webhook.isOrdered ? "  ordered" : ""}${webhook.disabledReason ? `  ${webhook.disabledReason}` : ""}`;

/** As the metric bunker_webhooks names them. */
function stateOf({ isEnabled, disabledReason, failingSince }: Webhook): string {
  if (!isEnabled) return disabledReason === null ? "off" : "disabled";
  return failingSince ? "failing" : "working";
}

type CreateFlags = JsonFlag & { events?: string; description?: string; ordered?: boolean };

export const create = (
  { json: isJson, events = ALL_EVENTS, description, ordered }: CreateFlags,
  url: string,
) =>
  changeDatabase(isJson, async (ctx) => {
    const types = events === ALL_EVENTS ? [ALL_EVENTS] : typesIn("--events", events);
    const input = { url, events: types, description, isOrdered: ordered ?? false };
    const { webhook, secret } = await createWebhook(ctx, operator, input);
    return {
      json: { ...webhookView(webhook), secret },
      text: `id      ${webhook.id}\nsecret  ${secret}\nThe secret is not shown again.`,
    };
  });

const changeTo =
  (isEnabled: boolean, verb: string) =>
  ({ json: isJson }: JsonFlag, id: string): Promise<void> =>
    changeDatabase(isJson, async (ctx) => {
      const before = await getWebhook(ctx, operator, idIn(id));
      const webhook = await updateWebhook(ctx, operator, { id: before.id, isEnabled });
      const isUnchanged = webhook.updatedAt.getTime() === before.updatedAt.getTime();
      const text = `${isUnchanged ? "Nothing to change:" : verb} ${lineOf(webhook)}`;
      return { json: webhookView(webhook), text, isUnchanged };
    });

export const enable = changeTo(true, "Enabled");
export const disable = changeTo(false, "Disabled");

export const rotate = ({ json: isJson }: JsonFlag, id: string) =>
  changeDatabase(isJson, async (ctx) => {
    const { webhook, secret } = await rotateSecret(ctx, operator, idIn(id));
    return {
      json: { ...webhookView(webhook), secret },
      text: `secret  ${secret}\nThe secret is not shown again. For 24 hours, deliveries are signed with both.`,
    };
  });

export const remove = ({ json: isJson, yes }: JsonFlag & { yes?: boolean }, id: string) =>
  changeDatabase(isJson, async (ctx) => {
    const webhook = await getWebhook(ctx, operator, idIn(id));
    if (!yes)
      throw new Exit(
        "usage",
        `This command deletes ${lineOf(webhook)}\nfrom ${describePlace(ctx.config)}. To confirm, add --yes.`,
      );
    await deleteWebhook(ctx, operator, { id: webhook.id });
    return { json: { id: webhook.id, is_deleted: true }, text: `Deleted ${lineOf(webhook)}` };
  });

/** Exit code 1 if the receiver did not accept the message. */
export const test = ({ json: isJson }: JsonFlag, id: string) =>
  readDatabase(async (ctx) => {
    const attempt = await testWebhook(ctx, operator, idIn(id));
    const { isSuccess, responseStatus, responseBody, error, durationMs } = attempt;
    const answer = responseStatus === null ? error?.replace(/\.$/, "") : `status ${responseStatus}`;
    const text = `${answer}, after ${durationMs} ms${responseBody ? `\n${responseBody}` : ""}`;
    if (isSuccess || isJson) printAnswer({ json: testView(attempt), text }, isJson);
    if (!isSuccess) throw new Exit("failed", `The receiver did not accept the message: ${text}`);
  });

type DeliveriesFlags = JsonFlag & { state?: string };

export const deliveries = ({ json: isJson, state }: DeliveriesFlags, id: string) =>
  readDatabase(async (ctx) =>
    printList(await latest(ctx, { webhookId: idIn(id), state: stateIn(state) }), isJson, {
      json: deliveryView,
      text: ({ id: deliveryId, createdAt, state: its, eventType, attempts, ...delivery }) =>
        `${deliveryId}  ${createdAt.toISOString()}  ${its.padEnd(9)}  ${eventType}  attempts ${attempts}${outcomeOf(delivery)}`,
      empty: "There is no such delivery.",
    }),
  );

const latest = async (ctx: Ctx, which: Parameters<typeof listDeliveries>[2]) =>
  (await listDeliveries(ctx, operator, which)).rows(firstPage);

const outcomeOf = ({ responseStatus, error }: Pick<Delivery, "responseStatus" | "error">) =>
  responseStatus === null ? (error && `  ${error}`) || "" : `  status ${responseStatus}`;

export const redeliver = ({ json: isJson }: JsonFlag, id: string) =>
  changeDatabase(isJson, async (ctx) => {
    const delivery = await redeliverOne(ctx, operator, { id });
    const text = `${delivery.eventType} ${delivery.eventId}. A running server sends it, if the webhook is enabled.`;
    return { json: deliveryView(delivery), text };
  });

function idIn(text: string): string {
  if (isId(text)) return text;
  throw new Exit("usage", "The ID of a webhook is a UUID. See: bunker webhooks list");
}

function stateIn(text: string | undefined): DeliveryState | undefined {
  const state = deliveryStates.find((one) => one === text);
  if (text === undefined || state) return state;
  throw new Exit("usage", `--state must be one of: ${deliveryStates.join(", ")}.`);
}
