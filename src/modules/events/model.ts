import { type Static, t } from "elysia";
import { described, integer } from "../../http/schemas.ts";
import { eventTypes } from "../../kit/event-types.ts";
import { actorKinds } from "./events.ts";

/** During an upgrade, a newer instance may record others, and one event must not fail a page. */
const known = <Word extends string>(words: readonly Word[]) =>
  described<Word>({ type: "string", enum: [...words] });

const Id = t.String({ format: "uuid" });

const Data = t.Object(
  {
    actor: t.Object(
      { kind: known(actorKinds), id: t.Nullable(Id) },
      {
        description:
          "`user`: a user with an access token. `operator`: a command on the server itself. `anonymous`: a request without an access token, such as a sign-in or a mailed link. `superuser`: in a user's own events, a superuser, whose identity and origin are hidden: `id`, `ip`, `user_agent` and `request_id` are null.",
      },
    ),
    ip: t.Nullable(t.String({ description: "The client IP of the request." })),
    user_agent: t.Nullable(t.String()),
    request_id: t.Nullable(t.String({ description: "The X-Request-Id of the response." })),
  },
  {
    additionalProperties: true,
    description: "Who caused the event and from where, and what belongs to the type of the event.",
  },
);

export const EnvelopeView = t.Object(
  {
    specversion: t.Literal("1.0"),
    id: t.String({
      format: "uuid",
      description: "The same in each way to read the event, and in each delivery.",
    }),
    source: t.String({ format: "uri", description: "The URL of this service." }),
    type: known(eventTypes),
    time: t.String({ format: "date-time" }),
    subject: t.Optional(
      t.String({
        format: "uuid",
        description: "What the event is about, such as a user. Absent if it is about nothing.",
      }),
    ),
    datacontenttype: t.Literal("application/json"),
    dataversion: integer({ description: "The version of the schema of `data`." }),
    sequence: t.String({
      description:
        "The cursor of the event. Pass it as `after` to read the events after it. Later cursors are greater as text.",
    }),
    // The types of `t.Object` do not know `additionalProperties`.
    data: t.Unsafe<Static<typeof Data> & Record<string, unknown>>(Data),
  },
  { title: "Event", description: "Something that happened: a CloudEvents 1.0 event." },
);
