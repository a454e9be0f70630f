import { t } from "elysia";
import { literals } from "../../http/schemas.ts";
import { actorKinds, type Event, eventTypes } from "./events.ts";

const Id = t.String({ format: "uuid" });

export const EventView = t.Object(
  {
    id: Id,
    type: literals(eventTypes),
    occurred_at: t.String({ format: "date-time" }),
    actor: t.Object(
      {
        kind: literals(actorKinds),
        id: t.Nullable(Id),
      },
      {
        description:
          "`user`: you. `superuser`: a superuser, whose identity and origin are hidden: `id`, `ip`, `user_agent` and `request_id` are null. `operator`: a command on the server itself. `anonymous`: a request without an access token, such as a sign-in or a mailed link. `ip` and `user_agent` are those of that request.",
      },
    ),
    subject_id: t.Nullable(
      t.String({
        format: "uuid",
        description: "The user or OAuth client that the event is about.",
      }),
    ),
    ip: t.Nullable(t.String()),
    user_agent: t.Nullable(t.String()),
    request_id: t.Nullable(t.String({ description: "The X-Request-Id of the response." })),
    data: t.Record(t.String(), t.Unknown()),
  },
  { title: "Event", description: "Something that happened to a user or an OAuth client." },
);

export const eventView = (event: Event) => ({
  id: event.id,
  type: event.type,
  occurred_at: event.occurredAt.toISOString(),
  actor: { kind: event.actorKind, id: event.actorId },
  subject_id: event.subjectId,
  ip: event.ip,
  user_agent: event.userAgent,
  request_id: event.requestId,
  data: event.data as Record<string, unknown>,
});
