import { t } from "elysia";
import { deviceOf } from "../../kit/user-agent.ts";
import type { Session } from "./sessions.ts";

export const SessionView = t.Object(
  {
    id: t.String({ format: "uuid" }),
    device: t.Nullable(t.String({ description: "As a person would call it, as far as it said." })),
    ip: t.Nullable(t.String({ description: "Where the sign-in came from." })),
    created_at: t.String({ format: "date-time" }),
    last_used_at: t.String({ format: "date-time", description: "The last refresh." }),
    is_current: t.Boolean({ description: "The one in which this was asked." }),
  },
  { title: "Session", description: "A sign-in that goes on." },
);

export const sessionView = async (session: Session, currentId: string) => ({
  id: session.id,
  device: await deviceOf(session.userAgent),
  ip: session.ip,
  created_at: session.createdAt.toISOString(),
  last_used_at: session.lastUsedAt.toISOString(),
  is_current: session.id === currentId,
});
