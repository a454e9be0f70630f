import { Elysia, t } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { rememberDevice } from "../../http/device.ts";
import { guard } from "../../http/guard.ts";
import { once } from "../../http/idempotency.ts";
import {
  bodyProblems,
  commonProblems,
  fails,
  retryProblems,
  tokenProblems,
} from "../../http/problems.ts";
import { fieldProblem, Problem } from "../../kit/problem.ts";
import { requestEmailChange } from "./address.ts";
import { type MailedProof as Proof, requestSignIn, signInByMail } from "./email-sign-in.ts";
import { requestLink } from "./links.ts";
import {
  Accepted,
  AddressChange,
  LinkRequest,
  MailedProof,
  Reset,
  TokenView,
  Verification,
} from "./model.ts";
import { resetPassword } from "./recovery.ts";
import { verifyEmail } from "./verification.ts";

const codeProblems = [...bodyProblems, ...commonProblems, "too_many_requests"] as const;
const linkProblems = [...codeProblems, ...retryProblems] as const;
const requestAccepted = {
  detail: "If there is something to mail to that address, it is on its way.",
};
const mailLimits = ["mail-account", "mail-address"] as const;

/** Verification of an email. */
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
        reads: ["idempotency-key"],
        optional: ["login", "login-account", "login-streak", "requests", "requests-anonymous"],
        detail: {
          operationId: "verifyEmail",
          summary: "Prove an address",
          description:
            "By the token of the link that registration mailed, or that a change of address mailed to the new one. **Send the account's password or an access token of it as well**: the link alone proves the address, but drops the password and ends every session, because whoever registered may be somebody else; and it does not change an address.",
        },
        body: Verification,
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
        reads: ["idempotency-key"],
        anonymous: [...mailLimits, "requests-anonymous"],
        detail: {
          operationId: "resendVerification",
          summary: "Mail the link again",
          description: "Always 202, whether or not anybody has that address.",
        },
        body: LinkRequest,
        response: { 202: Accepted, ...fails(...linkProblems) },
      },
    );

/** Password reset. */
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
        reads: ["idempotency-key"],
        anonymous: [...mailLimits, "requests-anonymous"],
        detail: {
          operationId: "forgotPassword",
          summary: "Mail a link to choose a new password",
          description: "Always 202, whether or not anybody has that address.",
        },
        body: LinkRequest,
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
        reads: ["idempotency-key"],
        anonymous: ["requests-anonymous"],
        detail: {
          operationId: "resetPassword",
          summary: "Choose a new password",
          description: "By the token of the mailed link, once. Ends every session.",
        },
        body: Reset,
        response: { 204: t.Void(), ...fails(...linkProblems, "invalid_link", "busy") },
      },
    );

/** Email sign-in, if it is enabled. */
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
        reads: ["idempotency-key"],
        anonymous: [...mailLimits, "requests-anonymous"],
        detail: {
          operationId: "requestEmailCode",
          summary: "Mail a link and a code to sign in by",
          description:
            "Always 202, whether or not anybody has that address. Off unless `EMAIL_SIGN_IN=on`.",
        },
        body: LinkRequest,
        response: { 202: Accepted, ...fails(...linkProblems, "email_sign_in_off") },
      },
    )
    .post(
      "/email-code/verify",
      async ({ actor, body, headers, set }) => {
        const { token, deviceToken } = await signInByMail(ctx, actor, proofOf(body));
        rememberDevice(ctx, { headers, set }, deviceToken);
        return token;
      },
      {
        anonymous: ["email-code", "login-address", "requests-anonymous"],
        reads: ["device-token"],
        answers: ["device-token", "set-cookie"],
        detail: {
          operationId: "signInByEmail",
          summary: "Sign in by the mailed link or code",
          description:
            "Once, for ten minutes. A code is tried five times at most; then the link in the same mail still works.",
        },
        body: MailedProof,
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

/** Either a token, or an email and a code. */
function proofOf({ token, email, code }: typeof MailedProof.static): Proof {
  if (token !== undefined && email === undefined && code === undefined) return { token };
  if (token === undefined && email !== undefined && code !== undefined) return { email, code };
  const detail = "needs either token, or email and code";
  throw new Problem("invalid_request", { errors: [fieldProblem("", "missing", detail)] });
}

/** Change of the caller's email. */
export const ownEmailRoutes = (ctx: Ctx) =>
  new Elysia({ name: "own-address", prefix: "/users/me", tags: ["users"] }).use(guard(ctx)).post(
    "/email",
    async ({ actor, body, headers, set, status }) => {
      const { email, current_password: currentPassword } = body;
      await once(ctx, { actor, body, headers, set, route: "change-email" }, () =>
        requestEmailChange(ctx, actor, { email, currentPassword }),
      );
      return status(202, changeAccepted);
    },
    {
      user: ["login", "login-streak", ...mailLimits],
      reads: ["idempotency-key"],
      detail: {
        operationId: "changeEmail",
        summary: "Change your address",
        description:
          "A link is mailed to the new address, and makes it the account's. The old one is told, and can take the account back for a week. Needs your password, or a sign-in that is less than ten minutes old.",
      },
      body: AddressChange,
      response: {
        202: Accepted,
        ...fails(
          ...tokenProblems,
          ...bodyProblems,
          ...retryProblems,
          "invalid_credentials",
          "reauthentication_required",
          "busy",
        ),
      },
    },
  );
const changeAccepted = {
  detail: "A link is on its way to the new address. Until it is opened, nothing changes.",
};
