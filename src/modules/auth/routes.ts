import { Elysia } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { guard } from "../../http/guard.ts";
import { bodyProblems, fails, serverProblems } from "../../http/problems.ts";
import { UserView, userView } from "../users/model.ts";
import { logIn, register } from "./auth.ts";
import { Login, Registration, TokenView } from "./model.ts";

export const authRoutes = (ctx: Ctx) =>
  new Elysia({ name: "auth", prefix: "/auth", tags: ["auth"] })
    .use(guard(ctx))
    .model({ User: UserView, Token: TokenView })
    .post(
      "/register",
      async ({ body, set, status }) => {
        const { full_name: fullName, ...rest } = body;
        const user = await register(ctx, { kind: "stranger" }, { ...rest, fullName });
        set.headers["location"] = `/api/v1/users/${user.id}`;
        return status(201, userView(user));
      },
      {
        public: true,
        detail: {
          operationId: "register",
          summary: "Register",
          description: "Makes an account for whoever comes, unless registration is closed.",
        },
        body: Registration,
        response: {
          201: "User",
          ...fails(
            ...bodyProblems,
            ...serverProblems,
            "registration_closed",
            "email_taken",
            "username_taken",
          ),
        },
      },
    )
    .post("/login", ({ body }) => logIn(ctx, body), {
      public: true,
      detail: {
        operationId: "login",
        summary: "Sign in",
        description:
          "By e-mail address or username. Takes OAuth2's password form or JSON. An unknown name and a wrong password get the same answer after the same time.",
      },
      body: Login,
      response: {
        200: "Token",
        ...fails(...bodyProblems, ...serverProblems, "invalid_credentials", "account_inactive"),
      },
    });
