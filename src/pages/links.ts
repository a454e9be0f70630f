import { Elysia, t } from "elysia";
import type { Ctx, Stranger } from "../ctx.ts";
import { guard } from "../http/guard.ts";
import { PASSWORD_MAX_LENGTH } from "../kit/password.ts";
import { Problem, problems, wordsOf } from "../kit/problem.ts";
import {
  disownAccount,
  openLink,
  requestLink,
  resetPassword,
  verifyEmail,
} from "../modules/auth/recovery.ts";
import type { Purpose } from "../modules/one-time/one-time.ts";
import { escaped, page, pageHeaders } from "./page.ts";

/** Where forms of ours are sent. */
export const LINK_PATHS = ["/verify-email", "/reset-password", "/forgot-password"];

const hidden = (name: string, value: string) =>
  `<input type="hidden" name="${name}" value="${escaped(value)}">`;
const refusal = (words: string | undefined) =>
  words === undefined ? "" : `<p role="alert"><strong>${escaped(words)}</strong></p>`;
const passwordField = (label: string, autocomplete: string) =>
  `<p><label>${label}<br><input type="password" name="password" required autofocus maxlength="${2 * PASSWORD_MAX_LENGTH}" autocomplete="${autocomplete}"></label></p>`;

const verifyPage = (token: string, words?: string): string =>
  page(
    "Confirm your address",
    `<h1>Confirm your address</h1>${refusal(words)}
<form method="post" action="/verify-email">${hidden("token", token)}
${passwordField("The password that you registered with", "current-password")}
<p><button>Confirm this address</button></p></form>
<form method="post" action="/verify-email">${hidden("token", token)}${hidden("intent", "disown")}
<p>You did not register, or do not know the password?</p>
<p><button class="quiet">It was not me</button></p></form>`,
  );

const resetPage = (token: string, words?: string): string =>
  page(
    "Choose a new password",
    `<h1>Choose a new password</h1>${refusal(words)}
<form method="post" action="/reset-password">${hidden("token", token)}
${passwordField("New password", "new-password")}
<p>Every device that is signed in will be signed out.</p>
<p><button>Set this password</button></p></form>`,
  );

const forgotPage = (words?: string): string =>
  page(
    "Choose a new password",
    `<h1>Choose a new password</h1>${refusal(words)}
<form method="post" action="/forgot-password">
<p><label>Your e-mail address<br><input type="email" name="email" required autofocus maxlength="320" autocomplete="email"></label></p>
<p><button>Send me a link</button></p></form>`,
  );

const done = (title: string, text: string): string =>
  page(title, `<h1>${escaped(title)}</h1><p>${escaped(text)}</p>`);

const DISOWNED =
  "Nobody can sign in to that account any more. If you want to use it, ask for a new password with your address.";

const ASKED = "If that address has an account, a link is on its way to it. It is good for an hour.";

const html = (body: string, status = 200) => new Response(body, { status, headers: pageHeaders });

/** A refusal as a page: of a link that is gone, as such; of anything else, as the form again. */
function refused(error: unknown, again: (words: string) => string): Response {
  if (!(error instanceof Problem)) throw error;
  const { status, title, remedy } = problems[error.code];
  return error.code === "invalid_link"
    ? html(done(title, remedy), status)
    : html(again(wordsOf(error)), status);
}

const Token = t.String({ minLength: 1, maxLength: 200 });
const Password = t.String({ minLength: 1, maxLength: 512 });
const shown = { response: t.Any(), detail: { hide: true } };

const openForms =
  (ctx: Ctx) =>
  async (
    actor: Stranger,
    link: { purpose: Purpose; token: string },
    form: (token: string, words?: string) => string,
  ) => {
    try {
      await openLink(ctx, actor, link);
      return html(form(link.token));
    } catch (error) {
      return refused(error, (words) => form(link.token, words));
    }
  };

/** What mailed links lead to. Opening one spends nothing: programs that look through mail open links, too. */
export const linkRoutes = (ctx: Ctx) => {
  const open = openForms(ctx);
  const query = t.Object({ token: t.String({ maxLength: 200, default: "" }) });
  return new Elysia({ name: "links" })
    .use(guard(ctx))
    .get(
      "/verify-email",
      ({ actor, query: { token } }) => open(actor, { purpose: "verify_email", token }, verifyPage),
      { ...shown, anyone: ["requests-stranger"], query },
    )
    .get(
      "/reset-password",
      ({ actor, query: { token } }) => open(actor, { purpose: "reset_password", token }, resetPage),
      { ...shown, anyone: ["requests-stranger"], query },
    )
    .post(
      "/verify-email",
      async ({ actor, body: { token, password, intent } }) => {
        try {
          if (intent === "disown") {
            await disownAccount(ctx, actor, token);
            return html(done("Thank you", DISOWNED));
          }
          if (password === undefined) throw new Problem("invalid_credentials");
          await verifyEmail(ctx, actor, { token, password });
          return html(done("Your address is confirmed", "You can close this page."));
        } catch (error) {
          return refused(error, (words) => verifyPage(token, words));
        }
      },
      {
        ...shown,
        anyone: ["login", "requests-stranger"],
        body: t.Object({
          token: Token,
          password: t.Optional(Password),
          intent: t.Optional(t.Literal("disown")),
        }),
      },
    )
    .get("/.well-known/change-password", ({ redirect }) => redirect("/forgot-password"), {
      ...{ ...shown, public: true },
    })
    .get("/forgot-password", () => html(forgotPage()), { ...shown, public: true })
    .post(
      "/forgot-password",
      async ({ actor, body: { email } }) => {
        try {
          await requestLink(ctx, actor, { purpose: "reset_password", email });
          return html(done("Look into your mailbox", ASKED), 202);
        } catch (error) {
          return refused(error, forgotPage);
        }
      },
      {
        ...shown,
        anyone: ["mail-account", "mail-address"],
        body: t.Object({ email: t.String({ minLength: 3, maxLength: 320 }) }),
      },
    )
    .post(
      "/reset-password",
      async ({ actor, body }) => {
        try {
          await resetPassword(ctx, actor, body);
          return html(done("Your password is set", "Sign in with it where you were going."));
        } catch (error) {
          return refused(error, (words) => resetPage(body.token, words));
        }
      },
      {
        ...shown,
        anyone: ["requests-stranger"],
        body: t.Object({ token: Token, password: Password }),
      },
    );
};
