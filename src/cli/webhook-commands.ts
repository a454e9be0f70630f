import { argument, command, flag, group, json, value } from "./command.ts";

const webhooksFile = () => import("./webhooks.ts");

const webhook = argument("ID", "The ID of the webhook");
const ofWebhook = { ...webhook, flags: { json } };

export const webhooks = group("Create, change and test webhooks, and see what they got.", {
  list: command("List the webhooks.", { flags: { json } }, async () => (await webhooksFile()).list),
  create: command(
    "Create a webhook. Its secret is shown once.",
    {
      ...argument("URL", "Where events are sent"),
      flags: {
        events: value("TYPES", "Event types, separated by commas (default = all)"),
        description: value("TEXT", "What it is for"),
        ordered: flag("Send one event at a time, in their order"),
        json,
      },
    },
    async () => (await webhooksFile()).create,
  ),
  enable: command(
    "Enable a webhook: the events that it has missed are sent.",
    ofWebhook,
    async () => (await webhooksFile()).enable,
  ),
  disable: command(
    "Disable a webhook: events wait, as long as they are stored.",
    ofWebhook,
    async () => (await webhooksFile()).disable,
  ),
  "rotate-secret": command(
    "Create a new secret for a webhook. The old one signs too, for 24 hours.",
    ofWebhook,
    async () => (await webhooksFile()).rotate,
  ),
  delete: command(
    "Delete a webhook and its deliveries: waiting events are not sent.",
    { ...webhook, flags: { yes: flag("Confirm; without it, the webhook is only shown"), json } },
    async () => (await webhooksFile()).remove,
  ),
  test: command(
    "Send a test message now, and show the answer: exit code 0 or 1.",
    ofWebhook,
    async () => (await webhooksFile()).test,
  ),
  deliveries: command(
    "List the latest deliveries of a webhook, newest first.",
    {
      ...webhook,
      flags: { state: value("STATE", "Only: waiting, delivered, failed or dropped"), json },
    },
    async () => (await webhooksFile()).deliveries,
  ),
  redeliver: command(
    "Send an event again, whatever the state of its delivery.",
    { ...argument("ID", "The ID of the delivery"), flags: { json } },
    async () => (await webhooksFile()).redeliver,
  ),
});
