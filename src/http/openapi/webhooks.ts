import type { EventDefinition } from "../../kit/event-schema.ts";
import { type EventType, eventDefinitions } from "../../kit/event-types.ts";

/**
 * The `webhooks` of the OpenAPI document: the request that a webhook gets for each type of events.
 */
export const webhookOperations = (): Record<string, object> =>
  Object.fromEntries(
    Object.entries<EventDefinition>(eventDefinitions).map(([type, definition]) => [
      type,
      { post: operationOf(type as EventType, definition) },
    ]),
  );

function operationOf(type: EventType, definition: EventDefinition): object {
  const { version, when, about, data } = definition;
  const own = {
    properties: {
      type: { const: type },
      dataversion: { const: version },
      data: {
        properties: data.properties,
        required: data.required ?? [],
        additionalProperties: true,
      },
    },
    additionalProperties: true,
  };
  const subject = about === "none" ? "It has no `subject`." : `\`subject\`: the ${about}.`;
  return {
    operationId: `on_${type.replace(".", "_")}`,
    tags: ["webhooks"],
    summary: type,
    description: `${when} ${subject}`,
    security: [],
    parameters: Object.entries(headers).map(([name, description]) => ({
      name,
      in: "header",
      required: true,
      description,
      schema: { type: "string" },
    })),
    requestBody: {
      required: true,
      content: {
        "application/json": {
          schema: { allOf: [{ $ref: "#/components/schemas/Event" }, own] },
          example: exampleOf(type, definition),
        },
      },
    },
    responses: {
      "2XX": { description: "Received. Any other response is a failure: Bunker tries again." },
      "410": { description: "The webhook is disabled: the receiver wants no more events." },
    },
  };
}

/** Standard Webhooks. */
const headers = {
  "webhook-id": "The `id` of the event: the same in every attempt.",
  "webhook-timestamp": "When the attempt was made, in seconds of Unix time.",
  "webhook-signature":
    "`v1,` and the base64 HMAC-SHA256 of `<id>.<timestamp>.<body>`. While a secret is rotated, one for each of both secrets, separated by a blank.",
};

const exampleOf = (type: EventType, { about, version, example }: EventDefinition) => ({
  specversion: "1.0",
  id: "019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f70",
  source: "https://accounts.example.com",
  type,
  time: "2026-01-31T09:30:00.000Z",
  ...(about === "none" ? {} : { subject: "019aac30-4a2f-7b11-8c0d-2e5f7a9b1c3d" }),
  datacontenttype: "application/json",
  dataversion: version,
  sequence: "000000000000a3f20000000000001c08",
  data: {
    ...(example as object),
    actor: { kind: "anonymous", id: null },
    ip: "203.0.113.7",
    user_agent: "Mozilla/5.0",
    request_id: "019aac30-5c1a-7281-9b7e-0f3c5b4a1d2e",
  },
});
