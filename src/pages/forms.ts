import { PASSWORD_MAX_LENGTH } from "../kit/password.ts";
import type { Purpose } from "../modules/one-time/one-time.ts";
import { escaped } from "./page.ts";
import type { Words } from "./words.ts";

const hidden = (name: string, value: string) =>
  `<input type="hidden" name="${name}" value="${escaped(value)}">`;
const paragraph = (text: string) => (text === "" ? "" : `<p>${escaped(text)}</p>`);
const alert = (text: string | undefined) =>
  text === undefined ? "" : `<p role="alert"><strong>${escaped(text)}</strong></p>`;

const passwordField = (
  label: string,
  { autocomplete, account }: Record<"autocomplete" | "account", string>,
) =>
  `<input type="text" hidden readonly autocomplete="username" value="${escaped(account)}"><p><label>${escaped(label)}<br><input type="password" name="password" required autofocus maxlength="${2 * PASSWORD_MAX_LENGTH}" autocomplete="${autocomplete}"></label></p>`;

const paths: Record<Purpose, string> = {
  verify_email: "/verify-email",
  change_email: "/verify-email",
  reset_password: "/reset-password",
  undo_email: "/undo-email",
  sign_in: "/sign-in",
};

export interface LinkForm {
  form: Purpose;
  token: string;
  /** What stands for `{email}`. */
  email?: string | null | undefined;
  /** The account, for a program that keeps passwords; its reader reads the account's mail. */
  account: string;
}

/** What a link asks before it does anything: its button sends the form, and only that spends the link. */
export function linkForm(
  words: Words,
  { form, token, email, account }: LinkForm,
  refusal?: string,
): string {
  const said = words[form];
  const start = `<form method="post" action="${paths[form]}">${hidden("token", token)}`;
  const autocomplete = form === "reset_password" ? "new-password" : "current-password";
  const otherwise = `${start}${hidden("intent", "disown")}
${paragraph(said.otherwise)}<p><button class="quiet">${escaped(said.otherwiseButton)}</button></p></form>`;
  return `<h1>${escaped(said.title)}</h1>${alert(refusal)}${paragraph(said.text.replace("{email}", email ?? ""))}
${start}${said.password === "" ? "" : passwordField(said.password, { autocomplete, account })}
<p><button>${escaped(said.button)}</button></p></form>
${said.otherwise === "" ? "" : otherwise}`;
}

export const forgotForm = ({ forgot }: Words, refusal?: string): string =>
  `<h1>${escaped(forgot.title)}</h1>${alert(refusal)}
<form method="post" action="/forgot-password">
<p><label>${escaped(forgot.email)}<br><input type="email" name="email" required autofocus maxlength="320" autocomplete="email"></label></p>
<p><button>${escaped(forgot.button)}</button></p></form>`;

/** What has come of it. */
export const notice = (title: string, text: string): string =>
  `<h1>${escaped(title)}</h1>${paragraph(text)}`;
