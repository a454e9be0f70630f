import { Elysia } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { guard } from "../../http/guard.ts";
import { once } from "../../http/idempotency.ts";
import { bodyProblems, commonProblems, fails, retryProblems } from "../../http/problems.ts";
import { Accepted } from "../../http/schemas.ts";
import { UserView, userView } from "../users/model.ts";
import { RegistrationBody } from "./model.ts";
import { register } from "./registration.ts";

const REGISTERED = {
  detail: "We sent a message to this email. Follow its instructions to continue.",
};

export const registrationRoutes = (ctx: Ctx) =>
  new Elysia({ name: "registration", prefix: "/auth", tags: ["auth"] }).use(guard(ctx)).post(
    "/register",
    async ({ actor, body, headers, set, status }) => {
      const { full_name: fullName, ...rest } = body;
      const user = await once(
        ctx,
        { actor, body, headers, set, route: "register", keepsRefusals: true },
        async () => {
          const registered = await register(ctx, actor, { ...rest, fullName });
          return registered ? userView(registered) : null;
        },
      );
      if (!user) return status(202, REGISTERED);
      set.headers["location"] = "/api/v1/users/me";
      return status(201, user);
    },
    {
      anonymous: ["register", "mail-account", "requests-anonymous"],
      requestHeaders: ["idempotency-key"],
      detail: {
        operationId: "register",
        summary: "Register",
        description:
          "Creates a user, unless registration is closed. If emails must be verified first (`REQUIRE_EMAIL_VERIFICATION`), it always returns 202, whether or not the email is taken. A mail tells which. With an `Idempotency-Key`, a retry within a day gets the first response.",
      },
      body: RegistrationBody,
      response: {
        201: UserView,
        202: Accepted,
        ...fails(
          ...bodyProblems,
          ...commonProblems,
          "registration_closed",
          "email_taken",
          "username_taken",
          ...retryProblems,
          "too_many_requests",
          "busy",
        ),
      },
    },
  );
