import type { Config } from "../config/config.ts";
import type { Anonymous, Ctx } from "../ctx.ts";
import type { RequestParts } from "../http/origin.ts";
import { Problem } from "../kit/problem.ts";
import { problems } from "../kit/problem-codes.ts";
import { openLink } from "../modules/emails/open-link.ts";
import type { Purpose } from "../modules/links/purposes.ts";
import { findRedemption, type RedeemedForm } from "../modules/links/redemptions.ts";
import { findUser } from "../modules/users/users.ts";
import { forgotLink, type LinkForm, linkForm, notice } from "./forms.ts";
import { openUserPages } from "./page.ts";
import { openProductLink } from "./product-link.ts";
import { refusalIn, type Words, wordsFor } from "./words.ts";

/** A request that opens a link. */
interface OpenedLink {
  actor: Anonymous;
  headers: RequestParts["headers"];
  token: string;
}

/** A request that sends the form of a link. */
interface SubmittedForm extends Omit<OpenedLink, "token"> {
  form: RedeemedForm;
}

interface LinkAction {
  purposes: readonly Purpose[];
  /** Redeems the link. May return HTML to show below the result. */
  work: () => Promise<string | undefined>;
  /** The result page, if it is not the usual one of the purpose. */
  done?: (words: Words, purpose: Purpose) => Response;
}

/** The pages of mailed links: the form, the form with a refusal, and the result. */
export function openLinkPages(ctx: Ctx) {
  const { answer, answerEnd } = openAnswers(ctx.config);

  const refuse = (error: unknown, words: Words, shown?: LinkForm): Response => {
    if (!(error instanceof Problem)) throw error;
    const { status } = problems[error.code];
    if (error.code === "invalid_link") {
      const { title, text } = words.problems.invalid_link;
      return answerEnd(words, title, { body: notice(title, text) + forgotLink(words), status });
    }
    const refusal = refusalIn(words, error, ctx.config.passwordMinLength);
    if (!shown) return answerEnd(words, refusal, { body: notice(refusal, ""), status });
    const { title } = words[shown.form];
    return answer(words, title, { body: linkForm(words, shown, refusal), status });
  };

  /** Finds the purpose of a link without redeeming it. */
  const findLink = async (
    { actor, headers, token }: OpenedLink,
    purposes: readonly Purpose[],
  ): Promise<{ words: Words; shown: LinkForm }> => {
    const opened = await openLink(ctx, actor, { purposes, token });
    const words = (locale: string | null) => wordsFor(locale, headers["accept-language"]);
    if (opened.registration) {
      const { purpose, email, locale } = opened.registration;
      return { words: words(locale), shown: { form: purpose as Purpose, token, email } };
    }
    const { link, user } = opened;
    // A new email must not reveal the user's current one: the new one may be mistyped and belong to
    // another person.
    const email = (link.purpose === "change_email" ? link.givesEmail : null) ?? user.email;
    return { words: words(user.locale), shown: { form: link.purpose, token, email } };
  };

  const showForm = async (opened: OpenedLink, ...purposes: Purpose[]): Promise<Response> => {
    try {
      const { words, shown } = await findLink(opened, purposes);
      return answer(words, words[shown.form].title, { body: linkForm(words, shown) });
    } catch (error) {
      return refuse(error, wordsFor(null, opened.headers["accept-language"]));
    }
  };

  const showDone = (words: Words, purpose: Purpose, more = "") => {
    const { done, doneText } = words[purpose];
    return answerEnd(words, done, { body: notice(done, doneText) + more });
  };

  /** The page of the first submission, if the same form was submitted twice (double click). */
  const repeatedResult = async (
    { headers, form }: SubmittedForm,
    { purposes, done = showDone }: LinkAction,
  ): Promise<Response | undefined> => {
    const redemption = await findRedemption(ctx, purposes, form);
    const user = redemption && (await findUser(ctx, redemption.userId));
    if (!redemption || !user?.isActive) return undefined;
    return done(wordsFor(user.locale, headers["accept-language"]), redemption.purpose);
  };

  const submit = async (submitted: SubmittedForm, action: LinkAction): Promise<Response> => {
    const { purposes, work, done = showDone } = action;
    let words = wordsFor(null, submitted.headers["accept-language"]);
    let shown: LinkForm | undefined;
    try {
      ({ words, shown } = await findLink({ ...submitted, token: submitted.form.token }, purposes));
      const more = await work();
      return more === undefined ? done(words, shown.form) : showDone(words, shown.form, more);
    } catch (error) {
      const isSpent = error instanceof Problem && error.code === "invalid_link";
      const result = isSpent ? await repeatedResult(submitted, action) : undefined;
      return result ?? refuse(error, words, shown);
    }
  };

  return { answer, answerEnd, showForm, submit };
}

function openAnswers(config: Config) {
  const userPage = openUserPages(config);
  const productLink = openProductLink(config);
  const answer = ({ lang }: Words, title: string, { body, status = 200 }: Page) =>
    userPage({ lang, title, body }, status);
  /** The last page of a flow. It links to the product. */
  const answerEnd = (words: Words, title: string, { body, status = 200 }: Page) =>
    answer(words, title, { body: body + productLink(words), status });
  return { answer, answerEnd };
}

interface Page {
  /** HTML. */
  body: string;
  status?: number;
}
