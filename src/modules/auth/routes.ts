import { Elysia, t } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { guard } from "../../http/guard.ts";
import { bodyProblems, fails, serverProblems, tokenProblems } from "../../http/problems.ts";
import { logOut } from "../sessions/sessions.ts";
import { UserView, userView } from "../users/model.ts";
import { logIn, refresh, register } from "./auth.ts";
import { Login, LogOut, Refresh, Registration, TokenView } from "./model.ts";

export const authRoutes = (ctx: Ctx) =>
  new Elysia({ name: "auth", prefix: "/auth", tags: ["auth"] })
    .use(guard(ctx))
    .post(
      "/register",
      async ({ actor, body, set, status }) => {
        const { full_name: fullName, ...rest } = body;
        const user = await register(ctx, actor, { ...rest, fullName });
        set.headers["location"] = `/api/v1/users/${user.id}`;
        return status(201, userView(user));
      },
      {
        anyone: true,
        detail: {
          operationId: "register",
          summary: "Register",
          description: "Makes an account for whoever comes, unless registration is closed.",
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
            "busy",
          ),
        },
      },
    )
    .post("/login", ({ actor, body }) => logIn(ctx, actor, body), {
      anyone: true,
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
          "busy",
        ),
      },
    });

/** To go on with a session, and to end it. */
export const continuationRoutes = (ctx: Ctx) =>
  new Elysia({ name: "continuation", prefix: "/auth", tags: ["auth"] })
    .use(guard(ctx))
    .post("/refresh", ({ actor, body }) => refresh(ctx, actor, body.refresh_token), {
      anyone: true,
      detail: {
        operationId: "refresh",
        summary: "Continue a session",
        description:
          "Spends the refresh token and answers the next one. A retry within ten seconds gets the same one again; a token that was spent long before ends the session, because somebody has a copy.",
      },
      body: Refresh,
      response: {
        200: TokenView,
        ...fails(...bodyProblems, ...serverProblems, "invalid_refresh_token"),
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
