import { Elysia, t } from "elysia";
import type { Ctx } from "../ctx.ts";
import { rememberDevice } from "../http/device.ts";
import { guard } from "../http/guard.ts";
import { escaped } from "../kit/html.ts";
import { Problem } from "../kit/problem.ts";
import { problems } from "../kit/problem-codes.ts";
import { restoreEmail } from "../modules/emails/change.ts";
import { resetPassword } from "../modules/emails/recovery.ts";
import { requestLink } from "../modules/emails/requests.ts";
import { signInByMail } from "../modules/emails/sign-in.ts";
import {
  DISOWN,
  disown,
  verificationPurposes,
  verifyEmail,
} from "../modules/emails/verification.ts";
import { linkPages, type Purpose } from "../modules/links/purposes.ts";
import { forgotForm, notice } from "./forms.ts";
import { openLinkPages } from "./link-page.ts";
import { refusalIn, type Texts, textsFor } from "./texts.ts";

/** The paths to which our own pages send forms. */
export const LINK_PATHS = [...linkPages, "/forgot-password"];

const Token = t.String({ minLength: 1, maxLength: 200 });
const Password = t.String({ minLength: 1, maxLength: 512 });
const hidden = { response: t.Any(), detail: { hide: true } };
/** For queries and forms of links: mail services add their own parameters. */
const withOtherFields = { additionalProperties: true };
// Functions: Elysia mutates a route's options, and they would keep the guard of the first app.
const openRoute = () => ({
  ...hidden,
  anonymous: ["requests-anonymous"] as const,
  query: t.Object({ token: t.String({ default: "" }) }, withOtherFields),
});
const submitRoute = () => ({
  ...hidden,
  anonymous: ["requests-anonymous"] as const,
  body: t.Object({ token: Token }, withOtherFields),
});

/** Pages of links about an email. Opening one redeems nothing: mail scanners open links, too. */
export const emailLinkRoutes = (ctx: Ctx) => {
  const { answerEnd, submit, showForm } = openLinkPages(ctx);
  const disowned = (texts: Texts, purpose: Purpose) => {
    const { title, account, change } = texts.disowned;
    return answerEnd(texts, title, {
      body: notice(title, purpose === "change_email" ? change : account),
    });
  };
  return new Elysia({ name: "email-links" })
    .use(guard(ctx))
    .get(
      "/verify-email",
      ({ actor, headers, query: { token } }) =>
        showForm({ actor, headers, token }, ...verificationPurposes),
      openRoute(),
    )
    .post(
      "/verify-email",
      ({ actor, headers, body: { token, password, intent } }) =>
        intent === DISOWN
          ? submit(
              { actor, headers, form: { token, intent } },
              {
                purposes: verificationPurposes,
                done: disowned,
                work: () => disown(ctx, actor, token),
              },
            )
          : submit(
              { actor, headers, form: { token, password } },
              {
                purposes: verificationPurposes,
                work: async () => {
                  if (password === undefined) throw new Problem("invalid_credentials");
                  await verifyEmail(ctx, actor, { token, password });
                },
              },
            ),
      {
        ...hidden,
        anonymous: ["login", "login-account", "login-streak", "requests-anonymous"],
        body: t.Object(
          { token: Token, password: t.Optional(Password), intent: t.Optional(t.Literal(DISOWN)) },
          withOtherFields,
        ),
      },
    )
    .get(
      "/undo-email",
      ({ actor, headers, query: { token } }) => showForm({ actor, headers, token }, "undo_email"),
      openRoute(),
    )
    .post(
      "/undo-email",
      ({ actor, headers, body: { token } }) =>
        submit(
          { actor, headers, form: { token } },
          { purposes: ["undo_email"], work: () => restoreEmail(ctx, actor, token) },
        ),
      submitRoute(),
    );
};

/** Pages of links that reset a password or sign in. */
export const entryLinkRoutes = (ctx: Ctx) => {
  const { submit, showForm } = openLinkPages(ctx);
  const { signInUrl } = ctx.config;
  return new Elysia({ name: "entry-links" })
    .use(guard(ctx))
    .get(
      "/reset-password",
      ({ actor, headers, query: { token } }) =>
        showForm({ actor, headers, token }, "reset_password"),
      openRoute(),
    )
    .post(
      "/reset-password",
      ({ actor, headers, body: { token, password } }) =>
        submit(
          { actor, headers, form: { token, password } },
          {
            purposes: ["reset_password"],
            work: () => resetPassword(ctx, actor, { token, password }),
          },
        ),
      { ...submitRoute(), body: t.Object({ token: Token, password: Password }, withOtherFields) },
    )
    .get(
      "/sign-in",
      ({ actor, headers, redirect, query: { token } }) =>
        // The link was mailed before SIGN_IN_REDIRECT_URL was set.
        signInUrl
          ? redirect(withToken(signInUrl, token), 303)
          : showForm({ actor, headers, token }, "sign_in"),
      openRoute(),
    )
    .post(
      "/sign-in",
      ({ actor, headers, set, body: { token } }) => {
        // Only a development server shows tokens on a page.
        if (signInUrl || ctx.config.environment === "production") throw new Problem("not_found");
        const work = async () => {
          const signedIn = await signInByMail(ctx, actor, { token });
          rememberDevice(ctx, { headers, set }, signedIn.deviceToken);
          return developerNote(signedIn.token);
        };
        return submit({ actor, headers, form: { token } }, { purposes: ["sign_in"], work });
      },
      submitRoute(),
    );
};

function withToken(page: string, token: string): string {
  const url = new URL(page);
  url.searchParams.set("token", token);
  return url.href;
}

const developerNote = (tokens: object): string => `<h2>For developers</h2>
<p>This page exists in development only. In production, set <code>SIGN_IN_REDIRECT_URL</code> to the page of your product that sends the mailed token to <code>POST /api/v1/auth/email-code/verify</code>. The response has these tokens:</p>
<pre>${escaped(JSON.stringify(tokens, null, 2))}</pre>`;

/** Requests a password reset; also W3C's "A Well-Known URL for Changing Passwords". */
export const forgotRoutes = (ctx: Ctx) => {
  const { answer, answerEnd } = openLinkPages(ctx);
  return new Elysia({ name: "forgot" })
    .use(guard(ctx))
    .get("/.well-known/change-password", ({ redirect }) => redirect("/forgot-password"), {
      ...hidden,
      public: true,
    })
    .get(
      "/forgot-password",
      ({ headers }) => {
        const texts = textsFor(null, headers["accept-language"]);
        return answer(texts, texts.forgot.title, { body: forgotForm(texts) });
      },
      { ...hidden, public: true },
    )
    .post(
      "/forgot-password",
      async ({ actor, headers, body: { email } }) => {
        const texts = textsFor(null, headers["accept-language"]);
        const { title, done, doneText } = texts.forgot;
        try {
          await requestLink(ctx, actor, { purpose: "reset_password", email });
          return answerEnd(texts, done, { body: notice(done, doneText), status: 202 });
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
          const refusal = refusalIn(texts, error, ctx.config.passwordMinLength);
          const { status } = problems[error.code];
          return answer(texts, title, { body: forgotForm(texts, refusal), status });
        }
      },
      {
        ...hidden,
        anonymous: ["mail-account", "mail-address"],
        body: t.Object({ email: t.String({ minLength: 3, maxLength: 320 }) }, withOtherFields),
      },
    );
};
