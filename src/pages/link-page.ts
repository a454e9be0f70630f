import type { Ctx, Stranger } from "../ctx.ts";
import type { Visit } from "../http/visit.ts";
import { Problem } from "../kit/problem.ts";
import { problems } from "../kit/problem-codes.ts";
import { openLink } from "../modules/auth/links.ts";
import type { Purpose } from "../modules/one-time/one-time.ts";
import { forgotLink, type LinkForm, linkForm, notice } from "./forms.ts";
import { openPeoplePages } from "./page.ts";
import { refusalIn, type Words, wordsFor } from "./words.ts";

/** Who opens a link or sends its form, and what stands in it. */
interface Sent {
  actor: Stranger;
  headers: Visit["headers"];
  token: string;
}

type Work = (words: Words, shown: LinkForm) => Response | Promise<Response>;

/** What lies behind mailed links, whatever they are for: a form, a refusal as the form again, what has come of it. */
export function openLinkPages(ctx: Ctx) {
  const people = openPeoplePages(ctx.config);
  const answer = ({ lang }: Words, title: string, { body, status = 200 }: Page) =>
    people({ lang, title, body }, status);

  const refuse = (error: unknown, words: Words, shown?: LinkForm): Response => {
    if (!(error instanceof Problem)) throw error;
    const { status } = problems[error.code];
    if (error.code === "invalid_link") {
      const { title, text } = words.problems.invalid_link;
      return answer(words, title, { body: notice(title, text) + forgotLink(words), status });
    }
    const refusal = refusalIn(words, error, ctx.config.passwordMinLength);
    if (!shown) return answer(words, refusal, { body: notice(refusal, ""), status });
    const { title } = words[shown.form];
    return answer(words, title, { body: linkForm(words, shown, refusal), status });
  };

  /** Finds out what a link is for, without spending it, and does `work` with the form that belongs to it. */
  const withLink = async (
    { actor, headers, token }: Sent,
    purposes: readonly Purpose[],
    work: Work,
  ): Promise<Response> => {
    let [words, shown]: [Words, LinkForm?] = [wordsFor(null, headers["accept-language"])];
    try {
      const { link, user } = await openLink(ctx, actor, { purposes, token });
      words = wordsFor(user.locale, headers["accept-language"]);
      // A new address is not told the account's, which is none of its business if somebody mistyped it.
      const isChange = link.purpose === "change_email";
      shown = {
        form: link.purpose,
        token,
        email: (isChange ? link.givesEmail : null) ?? user.email,
      };
      return await work(words, shown);
    } catch (error) {
      return refuse(error, words, shown);
    }
  };

  return {
    answer,
    withLink,
    showForm: (sent: Sent, ...purposes: Purpose[]) =>
      withLink(sent, purposes, (words, shown) =>
        answer(words, words[shown.form].title, { body: linkForm(words, shown) }),
      ),
    showDone: (words: Words, form: Purpose, more = "") => {
      const { done, doneText } = words[form];
      return answer(words, done, { body: notice(done, doneText) + more });
    },
  };
}

interface Page {
  /** HTML. */
  body: string;
  status?: number;
}
