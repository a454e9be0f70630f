import { PASSWORD_MAX_LENGTH } from "../credentials/password.ts";
import { escaped } from "../kit/html.ts";
import type { Purpose } from "../modules/links/purposes.ts";
import type { Texts } from "./texts.ts";

export interface LinkForm {
  form: Purpose;
  token: string;
  /** Where the link was mailed to. The person who opened the link knows it already. */
  email: string;
}

/** The form that a link opens. Only its button redeems the link: mail scanners open links, too. */
export function linkForm(texts: Texts, { form, token, email }: LinkForm, refusal?: string): string {
  const own = texts[form];
  // Without an action, it also works behind a proxy that strips a path prefix.
  const start = `<form method="post">${hidden("token", token)}`;
  const autocomplete = form === "reset_password" ? "new-password" : "current-password";
  const disownForm = `${start}${hidden("intent", "disown")}
${paragraph(own.notYou)}<p><button class="quiet">${escaped(own.notYouButton)}</button></p></form>`;
  return `<h1>${escaped(own.title)}</h1>${alert(refusal)}${paragraph(own.text.replace("{email}", () => email))}
${start}${own.password === "" ? "" : passwordField(own.password, { autocomplete, email })}
<p><button>${escaped(own.button)}</button></p></form>
${own.password === "" || form === "reset_password" ? "" : forgotLink(texts)}
${own.notYou === "" ? "" : disownForm}`;
}

/** A link for users who cannot continue here: it requests a new password. */
export const forgotLink = (texts: Texts): string =>
  `<p><a href="forgot-password">${escaped(texts.forgotLink)}</a></p>`;

export const forgotForm = ({ forgot }: Texts, refusal?: string): string =>
  `<h1>${escaped(forgot.title)}</h1>${alert(refusal)}
<form method="post">
<p><label>${escaped(forgot.email)}<br><input type="email" name="email" required autofocus maxlength="320" autocomplete="email"></label></p>
<p><button>${escaped(forgot.button)}</button></p></form>`;

export const notice = (title: string, text: string): string =>
  `<h1>${escaped(title)}</h1>${paragraph(text)}`;
const passwordField = (
  label: string,
  { autocomplete, email }: Record<"autocomplete" | "email", string>,
) =>
  `<input type="text" hidden readonly autocomplete="username" value="${escaped(email)}"><p><label>${escaped(label)}<br><input type="password" name="password" required autofocus maxlength="${2 * PASSWORD_MAX_LENGTH}" autocomplete="${autocomplete}"></label></p>`;

const hidden = (name: string, value: string) =>
  `<input type="hidden" name="${name}" value="${escaped(value)}">`;
const paragraph = (text: string) => (text === "" ? "" : `<p>${escaped(text)}</p>`);
const alert = (text: string | undefined) =>
  text === undefined ? "" : `<p role="alert"><strong>${escaped(text)}</strong></p>`;
