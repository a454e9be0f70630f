import { Elysia, t } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { rememberDevice } from "../../http/device.ts";
import { guard } from "../../http/guard.ts";
import { once } from "../../http/idempotency.ts";
import { bodyProblems, commonProblems, fails, retryProblems } from "../../http/problems.ts";
import { Accepted } from "../../http/schemas.ts";
import { fieldProblem, Problem } from "../../kit/problem.ts";
import { TokenView } from "../sessions/model.ts";
import { LinkRequestBody, MailedCredentialBody, ResetBody, VerificationBody } from "./model.ts";
import { resetPassword } from "./recovery.ts";
import { requestLink } from "./requests.ts";
import { type MailedCredential, requestSignIn, signInByMail } from "./sign-in.ts";
import { verifyEmail } from "./verification.ts";

const codeProblems = [...bodyProblems, ...commonProblems, "too_many_requests"] as const;
const linkProblems = [...codeProblems, ...retryProblems] as const;
const requestAccepted = {
  detail: "If the request applies to this email, a message is on its way.",
};
const mailLimits = ["mail-account", "mail-address"] as const;

export const verificationRoutes = (ctx: Ctx) =>
  new Elysia({ name: "verification", prefix: "/auth", tags: ["auth"] })
    .use(guard(ctx))
    .post(
      "/email/verify",
      async ({ actor, caller, body, headers, set, status }) => {
        await once(ctx, { actor, body, headers, set, route: "verify" }, () =>
          verifyEmail(ctx, actor, { ...body, caller }),
        );
        return status(204, undefined);
      },
      {
        requestHeaders: ["idempotency-key"],
        optional: ["login", "login-account", "login-streak"],
        detail: {
          operationId: "verifyEmail",
          summary: "Verify an email",
          description:
            "Takes the token of the link that was mailed at registration, or to the new email for a change of email. **Also send the user's password or an access token of the user.** The link alone verifies the email, but drops the password and ends every session, because another person may have registered the email. The link alone cannot change an email.",
        },
        body: VerificationBody,
        response: {
          204: t.Void(),
          ...fails(
            ...linkProblems,
            "invalid_link",
            "invalid_credentials",
            "invalid_token",
            "email_taken",
            "busy",
          ),
        },
      },
    )
    .post(
      "/email/verify/resend",
      async ({ actor, body, headers, set, status }) => {
        await once(ctx, { actor, body, headers, set, route: "resend" }, () =>
          requestLink(ctx, actor, { purpose: "verify_email", email: body.email }),
        );
        return status(202, requestAccepted);
      },
      {
        requestHeaders: ["idempotency-key"],
        anonymous: [...mailLimits, "requests-anonymous"],
        detail: {
          operationId: "resendVerification",
          summary: "Mail the verification link again",
          description: "Always returns 202, whether or not a user has the email.",
        },
        body: LinkRequestBody,
        response: { 202: Accepted, ...fails(...linkProblems) },
      },
    );

export const recoveryRoutes = (ctx: Ctx) =>
  new Elysia({ name: "recovery", prefix: "/auth", tags: ["auth"] })
    .use(guard(ctx))
    .post(
      "/password/forgot",
      async ({ actor, body, headers, set, status }) => {
        await once(ctx, { actor, body, headers, set, route: "forgot" }, () =>
          requestLink(ctx, actor, { purpose: "reset_password", email: body.email }),
        );
        return status(202, requestAccepted);
      },
      {
        requestHeaders: ["idempotency-key"],
        anonymous: [...mailLimits, "requests-anonymous"],
        detail: {
          operationId: "forgotPassword",
          summary: "Mail a password reset link",
          description: "Always returns 202, whether or not a user has the email.",
        },
        body: LinkRequestBody,
        response: { 202: Accepted, ...fails(...linkProblems) },
      },
    )
    .post(
      "/password/reset",
      async ({ actor, body, headers, set, status }) => {
        await once(ctx, { actor, body, headers, set, route: "reset" }, () =>
          resetPassword(ctx, actor, body),
        );
        return status(204, undefined);
      },
      {
        requestHeaders: ["idempotency-key"],
        anonymous: ["requests-anonymous"],
        detail: {
          operationId: "resetPassword",
          summary: "Reset the password",
          description:
            "Takes the token of the mailed link. The link is valid once. Ends every session.",
        },
        body: ResetBody,
        response: { 204: t.Void(), ...fails(...linkProblems, "invalid_link", "busy") },
      },
    );

export const emailSignInRoutes = (ctx: Ctx) =>
  new Elysia({ name: "email-sign-in", prefix: "/auth", tags: ["auth"] })
    .use(guard(ctx))
    .post(
      "/email-code",
      async ({ actor, body, headers, set, status }) => {
        await once(ctx, { actor, body, headers, set, route: "email-code" }, () =>
          requestSignIn(ctx, actor, body.email),
        );
        return status(202, requestAccepted);
      },
      {
        requestHeaders: ["idempotency-key"],
        anonymous: [...mailLimits, "requests-anonymous"],
        detail: {
          operationId: "requestEmailCode",
          summary: "Mail a sign-in link and code",
          description:
            "Always returns 202, whether or not a user has the email. Disabled unless `EMAIL_SIGN_IN=on`.",
        },
        body: LinkRequestBody,
        response: { 202: Accepted, ...fails(...linkProblems, "email_sign_in_off") },
      },
    )
    .post(
      "/email-code/verify",
      async ({ actor, body, headers, set }) => {
        const { token, deviceToken } = await signInByMail(ctx, actor, mailedCredentialIn(body));
        rememberDevice(ctx, { headers, set }, deviceToken);
        return token;
      },
      {
        anonymous: ["email-code", "login-address", "requests-anonymous"],
        requestHeaders: ["device-token"],
        responseHeaders: ["device-token", "set-cookie"],
        detail: {
          operationId: "signInByEmail",
          summary: "Sign in with the mailed link or code",
          description:
            "The link and the code are valid once, for ten minutes. A code allows five attempts. After that, the link in the same mail still works.",
        },
        body: MailedCredentialBody,
        response: {
          200: TokenView,
          ...fails(
            ...codeProblems,
            "invalid_link",
            "invalid_code",
            "account_inactive",
            "email_sign_in_off",
          ),
        },
      },
    );

function mailedCredentialIn({
  token,
  email,
  code,
}: typeof MailedCredentialBody.static): MailedCredential {
  if (token !== undefined && email === undefined && code === undefined) return { token };
  if (token === undefined && email !== undefined && code !== undefined) return { email, code };
  const detail = "needs either token, or email and code";
  throw new Problem("invalid_request", { errors: [fieldProblem("", "missing", detail)] });
}
