import type { Config } from "../config/config.ts";
import type { Anonymous, Ctx } from "../ctx.ts";
import type { Visit } from "../http/origin.ts";
import { Problem } from "../kit/problem.ts";
import { problems } from "../kit/problem-codes.ts";
import { openLink } from "../modules/auth/links.ts";
import type { Purpose } from "../modules/one-time/purposes.ts";
import { findRedemption, type RedeemedForm } from "../modules/one-time/redemptions.ts";
import { findUser } from "../modules/users/users.ts";
import { forgotLink, type LinkForm, linkForm, notice } from "./forms.ts";
import { openPeoplePages } from "./page.ts";
import { openProductLink } from "./product-link.ts";
import { refusalIn, type Words, wordsFor } from "./words.ts";

/** A request that opens a link. */
interface Opened {
  actor: Anonymous;
  headers: Visit["headers"];
  token: string;
}

/** A request that sends the form of a link. */
interface Sent extends Omit<Opened, "token"> {
  form: RedeemedForm;
}

interface LinkAction {
  purposes: readonly Purpose[];
  /** Does what the link is for. May return HTML to show below the result. */
  work: () => Promise<string | undefined>;
  /** The page of the result, if it is not the usual one of the purpose. */
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

  /** Finds the purpose of a link without spending it. */
  const look = async (
    { actor, headers, token }: Opened,
    purposes: readonly Purpose[],
  ): Promise<{ words: Words; shown: LinkForm }> => {
    const { link, user } = await openLink(ctx, actor, { purposes, token });
    // A new address is not told the account's, which is none of its business if somebody mistyped it.
    const email = (link.purpose === "change_email" ? link.givesEmail : null) ?? user.email;
    return {
      words: wordsFor(user.locale, headers["accept-language"]),
      shown: { form: link.purpose, token, email },
    };
  };

  const showForm = async (opened: Opened, ...purposes: Purpose[]): Promise<Response> => {
    try {
      const { words, shown } = await look(opened, purposes);
      return answer(words, words[shown.form].title, { body: linkForm(words, shown) });
    } catch (error) {
      return refuse(error, wordsFor(null, opened.headers["accept-language"]));
    }
  };

  const showDone = (words: Words, purpose: Purpose, more = "") => {
    const { done, doneText } = words[purpose];
    return answerEnd(words, done, { body: notice(done, doneText) + more });
  };

  /** The page of the first click, if this is a second click that sent the same form again. */
  const repeated = async (
    { headers, form }: Sent,
    { purposes, done = showDone }: LinkAction,
  ): Promise<Response | undefined> => {
    const before = await findRedemption(ctx, purposes, form);
    const user = before && (await findUser(ctx, before.userId));
    if (!before || !user?.isActive) return undefined;
    return done(wordsFor(user.locale, headers["accept-language"]), before.purpose);
  };

  const submit = async (sent: Sent, action: LinkAction): Promise<Response> => {
    const { purposes, work, done = showDone } = action;
    let words = wordsFor(null, sent.headers["accept-language"]);
    let shown: LinkForm | undefined;
    try {
      ({ words, shown } = await look({ ...sent, token: sent.form.token }, purposes));
      const more = await work();
      return more === undefined ? done(words, shown.form) : showDone(words, shown.form, more);
    } catch (error) {
      const isSpent = error instanceof Problem && error.code === "invalid_link";
      const before = isSpent ? await repeated(sent, action) : undefined;
      return before ?? refuse(error, words, shown);
    }
  };

  return { answer, answerEnd, showForm, submit };
}

function openAnswers(config: Config) {
  const people = openPeoplePages(config);
  const productLink = openProductLink(config);
  const answer = ({ lang }: Words, title: string, { body, status = 200 }: Page) =>
    people({ lang, title, body }, status);
  /** For the last page of a flow: it links to the product. */
  const answerEnd = (words: Words, title: string, { body, status = 200 }: Page) =>
    answer(words, title, { body: body + productLink(words), status });
  return { answer, answerEnd };
}

interface Page {
  /** HTML. */
  body: string;
  status?: number;
}
