import { Elysia, t } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { rememberDevice } from "../../http/device.ts";
import { guard } from "../../http/guard.ts";
import { bodyProblems, commonProblems, fails, tokenProblems } from "../../http/problems.ts";
import { TokenView } from "../sessions/model.ts";
import { refresh } from "../sessions/refresh.ts";
import { logOut } from "../sessions/sessions.ts";
import { logIn } from "./auth.ts";
import { LoginBody, LogOutBody, nameIn, RefreshBody } from "./model.ts";

export const authRoutes = (ctx: Ctx) =>
  new Elysia({ name: "auth", prefix: "/auth", tags: ["auth"] }).use(guard(ctx)).post(
    "/login",
    async ({ actor, body, headers, set }) => {
      const { token, deviceToken } = await logIn(ctx, actor, { ...body, username: nameIn(body) });
      rememberDevice(ctx, { headers, set }, deviceToken);
      return token;
    },
    {
      anonymous: ["login", "login-account", "login-streak", "login-address", "sign-ins"],
      requestHeaders: ["device-token"],
      responseHeaders: ["device-token", "set-cookie"],
      detail: {
        operationId: "login",
        summary: "Sign in",
        description:
          "With email or username, and password. Accepts JSON or the form of the OAuth 2.0 password grant. An unknown name and a wrong password get the same response after the same time.",
      },
      body: LoginBody,
      response: {
        200: TokenView,
        ...fails(
          ...bodyProblems,
          ...commonProblems,
          "cross_site_request",
          "invalid_credentials",
          "account_inactive",
          "email_not_verified",
          "too_many_requests",
          "busy",
        ),
      },
    },
  );

export const continuationRoutes = (ctx: Ctx) =>
  new Elysia({ name: "continuation", prefix: "/auth", tags: ["auth"] })
    .use(guard(ctx))
    .post("/refresh", ({ actor, body }) => refresh(ctx, actor, body.refresh_token), {
      anonymous: ["refresh-address", "refresh-session"],
      requestHeaders: ["device-token"],
      detail: {
        operationId: "refresh",
        summary: "Continue a session",
        description:
          "Spends the refresh token, and returns the next one with a new access token. A retry within `REFRESH_GRACE_SECONDS` (10) from the same client gets the same refresh token again. The client is the same if it sends the same `Device-Token` (browsers send the cookie). If neither request has one, its network and user agent must be the same. Otherwise, a spent token ends the session, because two parties may have it.",
      },
      body: RefreshBody,
      response: {
        200: TokenView,
        ...fails(...bodyProblems, ...commonProblems, "invalid_refresh_token", "too_many_requests"),
      },
    })
    .post(
      "/logout",
      async ({ actor, body, status }) => {
        await logOut(ctx, actor, body?.scope ?? "current");
        return status(204, undefined);
      },
      {
        eitherToken: true,
        detail: {
          operationId: "logout",
          summary: "Sign out",
          description:
            "Ends this session, your other sessions, or all of them, with their access tokens. The refresh token can replace the access token: in the header, or as `refresh_token` in the body of a request without `Authorization`. A spent refresh token gets 401, and its session ends.",
        },
        body: LogOutBody,
        response: {
          204: t.Void(),
          ...fails(...tokenProblems, ...bodyProblems, "invalid_refresh_token"),
        },
      },
    );
