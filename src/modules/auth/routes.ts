import { Elysia, t } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { guard } from "../../http/guard.ts";
import { once } from "../../http/idempotency.ts";
import { bodyProblems, fails, serverProblems, tokenProblems } from "../../http/problems.ts";
import { rememberDevice } from "../../http/visit.ts";
import { logOut } from "../sessions/sessions.ts";
import { UserView, userView } from "../users/model.ts";
import { logIn, refresh, register } from "./auth.ts";
import {
  LinkRequest,
  Login,
  LogOut,
  Refresh,
  Registration,
  Reset,
  TokenView,
  Verification,
} from "./model.ts";
import { requestLink, resetPassword, verifyEmail } from "./recovery.ts";

export const authRoutes = (ctx: Ctx) => {
  const isSecure = ctx.config.publicUrl.startsWith("https:");
  return new Elysia({ name: "auth", prefix: "/auth", tags: ["auth"] })
    .use(guard(ctx))
    .post(
      "/register",
      async ({ actor, body, headers, set, status }) => {
        const { full_name: fullName, ...rest } = body;
        const user = await once(ctx, { actor, body, headers, set, route: "register" }, async () =>
          userView(await register(ctx, actor, { ...rest, fullName })),
        );
        set.headers["location"] = `/api/v1/users/${user.id}`;
        return status(201, user);
      },
      {
        anyone: ["register", "requests-stranger"],
        detail: {
          operationId: "register",
          summary: "Register",
          description:
            "Makes an account for whoever comes, unless registration is closed. With an `Idempotency-Key`, a retry within a day gets the answer of the first.",
        },
        body: Registration,
        response: {
          201: UserView,
          ...fails(
            ...bodyProblems,
            ...serverProblems,
            "registration_closed",
            "email_taken",
            "username_taken",
            "request_in_progress",
            "idempotency_key_reused",
            "too_many_requests",
            "busy",
          ),
        },
      },
    )
    .post(
      "/login",
      async ({ actor, body, set }) => {
        const { token, deviceToken } = await logIn(ctx, actor, body);
        rememberDevice(set, { token: deviceToken, isSecure });
        return token;
      },
      {
        anyone: ["login", "login-account", "login-streak", "login-address"],
        detail: {
          operationId: "login",
          summary: "Sign in",
          description:
            "By e-mail address or username. Takes OAuth2's password form or JSON. An unknown name and a wrong password get the same answer after the same time.",
        },
        body: Login,
        response: {
          200: TokenView,
          ...fails(
            ...bodyProblems,
            ...serverProblems,
            "invalid_credentials",
            "account_inactive",
            "too_many_requests",
            "busy",
          ),
        },
      },
    );
};

/** To go on with a session, and to end it. */
export const continuationRoutes = (ctx: Ctx) =>
  new Elysia({ name: "continuation", prefix: "/auth", tags: ["auth"] })
    .use(guard(ctx))
    .post("/refresh", ({ actor, body }) => refresh(ctx, actor, body.refresh_token), {
      anyone: ["refresh-address", "refresh-session"],
      detail: {
        operationId: "refresh",
        summary: "Continue a session",
        description:
          "Spends the refresh token and answers the next one. A retry within ten seconds gets the same one again; a token that was spent long before ends the session, because somebody has a copy.",
      },
      body: Refresh,
      response: {
        200: TokenView,
        ...fails(...bodyProblems, ...serverProblems, "invalid_refresh_token", "too_many_requests"),
      },
    })
    .post(
      "/logout",
      async ({ actor, body, status }) => {
        await logOut(ctx, actor, body?.scope ?? "current");
        return status(204, undefined);
      },
      {
        holder: true,
        detail: {
          operationId: "logout",
          summary: "Sign out",
          description:
            "Ends this session, the others, or all of them, and their access tokens with them. The refresh token may stand in place of the access token.",
        },
        body: LogOut,
        response: { 204: t.Void(), ...fails(...tokenProblems, ...bodyProblems) },
      },
    );

const linkProblems = [...bodyProblems, ...serverProblems, "too_many_requests"] as const;

/** What is done by mail: proving an address, and coming back without the password. */
export const recoveryRoutes = (ctx: Ctx) =>
  new Elysia({ name: "recovery", prefix: "/auth", tags: ["auth"] })
    .use(guard(ctx))
    .post(
      "/email/verify",
      async ({ actor, holder, body, status }) => {
        await verifyEmail(ctx, actor, { ...body, holder });
        return status(204, undefined);
      },
      {
        visitor: ["login", "requests-stranger"],
        detail: {
          operationId: "verifyEmail",
          summary: "Prove an address",
          description:
            "By the token of the link that registration mailed, and the account's password or an access token of it.",
        },
        body: Verification,
        response: {
          204: t.Void(),
          ...fails(...linkProblems, "invalid_link", "invalid_credentials", "busy"),
        },
      },
    )
    .post(
      "/email/verify/resend",
      async ({ actor, body, status }) => {
        await requestLink(ctx, actor, { purpose: "verify_email", email: body.email });
        return status(202, {});
      },
      {
        anyone: ["mail-account", "mail-address"],
        detail: {
          operationId: "resendVerification",
          summary: "Mail the link again",
          description: "Always 202, whether or not anybody has that address.",
        },
        body: LinkRequest,
        response: { 202: t.Object({}), ...fails(...linkProblems) },
      },
    )
    .post(
      "/password/forgot",
      async ({ actor, body, status }) => {
        await requestLink(ctx, actor, { purpose: "reset_password", email: body.email });
        return status(202, {});
      },
      {
        anyone: ["mail-account", "mail-address"],
        detail: {
          operationId: "forgotPassword",
          summary: "Mail a link to choose a new password",
          description: "Always 202, whether or not anybody has that address.",
        },
        body: LinkRequest,
        response: { 202: t.Object({}), ...fails(...linkProblems) },
      },
    )
    .post(
      "/password/reset",
      async ({ actor, body, status }) => {
        await resetPassword(ctx, actor, body);
        return status(204, undefined);
      },
      {
        anyone: ["requests-stranger"],
        detail: {
          operationId: "resetPassword",
          summary: "Choose a new password",
          description: "By the token of the mailed link, once. Ends every session.",
        },
        body: Reset,
        response: { 204: t.Void(), ...fails(...linkProblems, "invalid_link", "busy") },
      },
    );
