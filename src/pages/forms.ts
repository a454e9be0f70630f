import { PASSWORD_MAX_LENGTH } from "../credentials/password.ts";
import { escaped } from "../kit/html.ts";
import type { Purpose } from "../modules/one-time/purposes.ts";
import type { Words } from "./words.ts";

const hidden = (name: string, value: string) =>
  `<input type="hidden" name="${name}" value="${escaped(value)}">`;
const paragraph = (text: string) => (text === "" ? "" : `<p>${escaped(text)}</p>`);
const alert = (text: string | undefined) =>
  text === undefined ? "" : `<p role="alert"><strong>${escaped(text)}</strong></p>`;

const passwordField = (
  label: string,
  { autocomplete, email }: Record<"autocomplete" | "email", string>,
) =>
  `<input type="text" hidden readonly autocomplete="username" value="${escaped(email)}"><p><label>${escaped(label)}<br><input type="password" name="password" required autofocus maxlength="${2 * PASSWORD_MAX_LENGTH}" autocomplete="${autocomplete}"></label></p>`;

export interface LinkForm {
  form: Purpose;
  token: string;
  /** The address that the link was mailed to: it stands for `{email}`, and is nothing new to whoever opened the link. */
  email: string;
}

/** What a link asks before it does anything: its button sends the form, and only that spends the link. */
export function linkForm(words: Words, { form, token, email }: LinkForm, refusal?: string): string {
  const said = words[form];
  // Without an action it is sent to where it came from, also behind a proxy that cuts a prefix off.
  const start = `<form method="post">${hidden("token", token)}`;
  const autocomplete = form === "reset_password" ? "new-password" : "current-password";
  const otherwise = `${start}${hidden("intent", "disown")}
${paragraph(said.otherwise)}<p><button class="quiet">${escaped(said.otherwiseButton)}</button></p></form>`;
  return `<h1>${escaped(said.title)}</h1>${alert(refusal)}${paragraph(said.text.replace("{email}", () => email))}
${start}${said.password === "" ? "" : passwordField(said.password, { autocomplete, email })}
<p><button>${escaped(said.button)}</button></p></form>
${said.password === "" || form === "reset_password" ? "" : forgotLink(words)}
${said.otherwise === "" ? "" : otherwise}`;
}

/** A way on for whoever cannot go on here. */
export const forgotLink = (words: Words): string =>
  `<p><a href="forgot-password">${escaped(words.forgotLink)}</a></p>`;

export const forgotForm = ({ forgot }: Words, refusal?: string): string =>
  `<h1>${escaped(forgot.title)}</h1>${alert(refusal)}
<form method="post">
<p><label>${escaped(forgot.email)}<br><input type="email" name="email" required autofocus maxlength="320" autocomplete="email"></label></p>
<p><button>${escaped(forgot.button)}</button></p></form>`;

/** What has come of it. */
export const notice = (title: string, text: string): string =>
  `<h1>${escaped(title)}</h1>${paragraph(text)}`;
