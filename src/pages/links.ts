import { Elysia, t } from "elysia";
import type { Ctx } from "../ctx.ts";
import { rememberDevice } from "../http/device.ts";
import { guard } from "../http/guard.ts";
import { escaped } from "../kit/html.ts";
import { Problem } from "../kit/problem.ts";
import { problems } from "../kit/problem-codes.ts";
import { restoreAddress } from "../modules/auth/address.ts";
import { signInByMail } from "../modules/auth/email-sign-in.ts";
import { requestLink } from "../modules/auth/links.ts";
import { resetPassword } from "../modules/auth/recovery.ts";
import { disown, verifications, verifyEmail } from "../modules/auth/verification.ts";
import { linkPages } from "../modules/one-time/one-time.ts";
import { forgotForm, notice } from "./forms.ts";
import { openLinkPages } from "./link-page.ts";
import { refusalIn, wordsFor } from "./words.ts";

/** Where forms of ours are sent. */
export const LINK_PATHS = [...linkPages, "/forgot-password"];

const Token = t.String({ minLength: 1, maxLength: 200 });
const Password = t.String({ minLength: 1, maxLength: 512 });
const hidden = { response: t.Any(), detail: { hide: true } };
// Functions, because Elysia mutates a route's options: a shared object would keep the first app's guard.
const opened = () => ({
  ...hidden,
  anyone: ["requests-stranger"] as const,
  query: t.Object({ token: t.String({ default: "" }) }),
});
const sent = () => ({
  ...hidden,
  anyone: ["requests-stranger"] as const,
  body: t.Object({ token: Token }),
});

/** Where links about an address lead. Opening one spends nothing: programs that look through mail open links, too. */
export const addressLinkRoutes = (ctx: Ctx) => {
  const { answer, withLink, showForm, showDone } = openLinkPages(ctx);
  return new Elysia({ name: "address-links" })
    .use(guard(ctx))
    .get(
      "/verify-email",
      ({ actor, headers, query: { token } }) =>
        showForm({ actor, headers, token }, ...verifications),
      opened(),
    )
    .post(
      "/verify-email",
      ({ actor, headers, body: { token, password, intent } }) =>
        withLink({ actor, headers, token }, verifications, async (words, { form }) => {
          if (intent === "disown") {
            await disown(ctx, actor, token);
            const { title, account, change } = words.disowned;
            const text = form === "change_email" ? change : account;
            return answer(words, title, { body: notice(title, text) });
          }
          if (password === undefined) throw new Problem("invalid_credentials");
          await verifyEmail(ctx, actor, { token, password });
          return showDone(words, form);
        }),
      {
        ...hidden,
        anyone: ["login", "login-account", "login-streak", "requests-stranger"],
        body: t.Object({
          token: Token,
          password: t.Optional(Password),
          intent: t.Optional(t.Literal("disown")),
        }),
      },
    )
    .get(
      "/undo-email",
      ({ actor, headers, query: { token } }) => showForm({ actor, headers, token }, "undo_email"),
      opened(),
    )
    .post(
      "/undo-email",
      ({ actor, headers, body: { token } }) =>
        withLink({ actor, headers, token }, ["undo_email"], async (words, { form }) => {
          await restoreAddress(ctx, actor, token);
          return showDone(words, form);
        }),
      sent(),
    );
};

/** Where links lead that let somebody in. */
export const entryLinkRoutes = (ctx: Ctx) => {
  const { withLink, showForm, showDone } = openLinkPages(ctx);
  return new Elysia({ name: "entry-links" })
    .use(guard(ctx))
    .get(
      "/reset-password",
      ({ actor, headers, query: { token } }) =>
        showForm({ actor, headers, token }, "reset_password"),
      opened(),
    )
    .post(
      "/reset-password",
      ({ actor, headers, body: { token, password } }) =>
        withLink({ actor, headers, token }, ["reset_password"], async (words, { form }) => {
          await resetPassword(ctx, actor, { token, password });
          return showDone(words, form);
        }),
      { ...sent(), body: t.Object({ token: Token, password: Password }) },
    )
    .get(
      "/sign-in",
      ({ actor, headers, query: { token } }) => showForm({ actor, headers, token }, "sign_in"),
      opened(),
    )
    .post(
      "/sign-in",
      ({ actor, headers, set, body: { token } }) =>
        withLink({ actor, headers, token }, ["sign_in"], async (words, { form }) => {
          const signedIn = await signInByMail(ctx, actor, { token });
          rememberDevice(ctx, { headers, set }, signedIn.deviceToken);
          const tokens = escaped(JSON.stringify(signedIn.token, null, 2));
          return showDone(words, form, `<pre>${tokens}</pre>`);
        }),
      sent(),
    );
};

/** Where somebody asks for a new password (also by W3C's "A Well-Known URL for Changing Passwords"). */
export const forgotRoutes = (ctx: Ctx) => {
  const { answer } = openLinkPages(ctx);
  return new Elysia({ name: "forgot" })
    .use(guard(ctx))
    .get("/.well-known/change-password", ({ redirect }) => redirect("/forgot-password"), {
      ...{ ...hidden, public: true },
    })
    .get(
      "/forgot-password",
      ({ headers }) => {
        const words = wordsFor(null, headers["accept-language"]);
        return answer(words, words.forgot.title, { body: forgotForm(words) });
      },
      { ...hidden, public: true },
    )
    .post(
      "/forgot-password",
      async ({ actor, headers, body: { email } }) => {
        const words = wordsFor(null, headers["accept-language"]);
        const { title, done, doneText } = words.forgot;
        try {
          await requestLink(ctx, actor, { purpose: "reset_password", email });
          return answer(words, done, { body: notice(done, doneText), status: 202 });
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
          const refusal = refusalIn(words, error, ctx.config.passwordMinLength);
          const { status } = problems[error.code];
          return answer(words, title, { body: forgotForm(words, refusal), status });
        }
      },
      {
        ...hidden,
        anyone: ["mail-account", "mail-address"],
        body: t.Object({ email: t.String({ minLength: 3, maxLength: 320 }) }),
      },
    );
};
