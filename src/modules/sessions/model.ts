import { t } from "elysia";
import { integer } from "../../http/schemas.ts";
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

export const TokenView = t.Object(
  {
    access_token: t.String({
      description: "A JWT (RFC 9068). Send it as `Authorization: Bearer <token>`.",
    }),
    token_type: t.Literal("bearer"),
    expires_in: integer({ description: "Lifetime of the access token in seconds." }),
    refresh_token: t.String({
      description: "Valid once, for POST /api/v1/auth/refresh. Keep only the latest one.",
    }),
  },
  {
    title: "Token",
    description:
      "An access token, and the refresh token that continues the session after it expires.",
    examples: [
      {
        access_token: "eyJhbGciOi…",
        token_type: "bearer",
        expires_in: 900,
        refresh_token: "rt_AZqsMFwbfU6dP2orjE4fcA…",
      },
    ],
  },
);
