import type { Config } from "../config/config.ts";
import type { Anonymous, Ctx } from "../ctx.ts";
import type { RequestParts } from "../http/request-context.ts";
import { Problem } from "../kit/problem.ts";
import { problems } from "../kit/problem-codes.ts";
import { openLink } from "../modules/emails/open-link.ts";
import type { Purpose } from "../modules/links/purposes.ts";
import { findRedemption, type RedeemedForm } from "../modules/links/redemptions.ts";
import { findUser } from "../modules/users/users.ts";
import { forgotLink, type LinkForm, linkForm, notice } from "./forms.ts";
import { openUserPages } from "./page.ts";
import { openProductLink } from "./product-link.ts";
import { refusalIn, type Texts, textsFor } from "./texts.ts";

interface OpenedLink {
  actor: Anonymous;
  headers: RequestParts["headers"];
  token: string;
}

interface SubmittedForm extends Omit<OpenedLink, "token"> {
  form: RedeemedForm;
}

interface LinkAction {
  purposes: readonly Purpose[];
  /** Redeems the link. A text is HTML to show below the result. */
  work: () => Promise<unknown>;
  /** The result page, if it is not the usual one of the purpose. */
  done?: (texts: Texts, purpose: Purpose) => Response;
}

/** The pages of mailed links: the form, the form with a refusal, and the result. */
export function openLinkPages(ctx: Ctx) {
  const { answer, answerEnd } = openAnswers(ctx.config);

  const refuse = (error: unknown, texts: Texts, shown?: LinkForm): Response => {
    if (!(error instanceof Problem)) throw error;
    const { status } = problems[error.code];
    if (error.code === "invalid_link") {
      const { title, text } = texts.problems.invalid_link;
      return answerEnd(texts, title, { body: notice(title, text) + forgotLink(texts), status });
    }
    const refusal = refusalIn(texts, error, ctx.config.passwordMinLength);
    if (!shown) return answerEnd(texts, refusal, { body: notice(refusal, ""), status });
    const { title } = texts[shown.form];
    return answer(texts, title, { body: linkForm(texts, shown, refusal), status });
  };

  /** Finds the purpose of a link without redeeming it. */
  const findLink = async (
    { actor, headers, token }: OpenedLink,
    purposes: readonly Purpose[],
  ): Promise<{ texts: Texts; shown: LinkForm }> => {
    const opened = await openLink(ctx, actor, { purposes, token });
    const textsIn = (locale: string | null) => textsFor(locale, headers["accept-language"]);
    if (opened.registration) {
      const { purpose, email, locale } = opened.registration;
      return { texts: textsIn(locale), shown: { form: purpose, token, email } };
    }
    const { link, user } = opened;
    // Not the current email: the new one may be mistyped and belong to another person.
    const email = (link.purpose === "change_email" ? link.newEmail : null) ?? user.email;
    return { texts: textsIn(user.locale), shown: { form: link.purpose, token, email } };
  };

  const showForm = async (opened: OpenedLink, ...purposes: Purpose[]): Promise<Response> => {
    try {
      const { texts, shown } = await findLink(opened, purposes);
      return answer(texts, texts[shown.form].title, { body: linkForm(texts, shown) });
    } catch (error) {
      return refuse(error, textsFor(null, opened.headers["accept-language"]));
    }
  };

  const showDone = (texts: Texts, purpose: Purpose, more = "") => {
    const { done, doneText } = texts[purpose];
    return answerEnd(texts, done, { body: notice(done, doneText) + more });
  };

  /** The page of the first submission, if the same form was submitted twice (double click). */
  const repeatedResult = async (
    { headers, form }: SubmittedForm,
    { purposes, done = showDone }: LinkAction,
  ): Promise<Response | undefined> => {
    const redemption = await findRedemption(ctx, purposes, form);
    const user = redemption && (await findUser(ctx, redemption.userId));
    if (!redemption || !user?.isActive) return undefined;
    return done(textsFor(user.locale, headers["accept-language"]), redemption.purpose);
  };

  const submit = async (submitted: SubmittedForm, action: LinkAction): Promise<Response> => {
    const { purposes, work, done = showDone } = action;
    let texts = textsFor(null, submitted.headers["accept-language"]);
    let shown: LinkForm | undefined;
    try {
      ({ texts, shown } = await findLink({ ...submitted, token: submitted.form.token }, purposes));
      const more = await work();
      return typeof more === "string" ? showDone(texts, shown.form, more) : done(texts, shown.form);
    } catch (error) {
      const isSpent = error instanceof Problem && error.code === "invalid_link";
      const result = isSpent ? await repeatedResult(submitted, action) : undefined;
      return result ?? refuse(error, texts, shown);
    }
  };

  return { answer, answerEnd, showForm, submit };
}

function openAnswers(config: Config) {
  const userPage = openUserPages(config);
  const productLink = openProductLink(config);
  const answer = ({ lang }: Texts, title: string, { body, status = 200 }: Page) =>
    userPage({ lang, title, body }, status);
  /** The last page of a flow. It links to the product. */
  const answerEnd = (texts: Texts, title: string, { body, status = 200 }: Page) =>
    answer(texts, title, { body: body + productLink(texts), status });
  return { answer, answerEnd };
}

interface Page {
  body: string;
  status?: number;
}
