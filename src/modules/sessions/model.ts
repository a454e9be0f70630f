import { t } from "elysia";
import { deviceOf } from "../../kit/user-agent.ts";
import type { Session } from "./sessions.ts";

export const SessionView = t.Object(
  {
    id: t.String({ format: "uuid" }),
    device: t.Nullable(
      t.String({
        description:
          "A readable name of the device, such as `Firefox on Linux`, if its User-Agent shows one.",
      }),
    ),
    ip: t.Nullable(t.String({ description: "The client IP of the sign-in." })),
    created_at: t.String({ format: "date-time" }),
    last_used_at: t.String({
      format: "date-time",
      description: "Time of the last refresh, or of the sign-in.",
    }),
    is_current: t.Boolean({ description: "Whether this request belongs to the session." }),
  },
  { title: "Session", description: "A sign-in that has not ended." },
);

export const sessionView = async (session: Session, currentId: string) => ({
  id: session.id,
  device: await deviceOf(session.userAgent),
  ip: session.ip,
  created_at: session.createdAt.toISOString(),
  last_used_at: session.lastUsedAt.toISOString(),
  is_current: session.id === currentId,
});
