import { PASSWORD_MAX_LENGTH } from "../credentials/password.ts";
import { type Problem, problemText } from "../kit/problem.ts";
import german from "./texts/de.json" with { type: "json" };
import english from "./texts/en.json" with { type: "json" };

/** The texts of the pages for users, in one language. */
export type Texts = typeof english & { lang: string };

/** To add a language, add a file beside these and a line here. */
const languages: Record<string, Texts> = {
  en: { ...english, lang: "en" },
  de: { ...german, lang: "de" },
};

const TAGS_MAX = 20;

/** In the language of the user, or of the browser (Accept-Language: RFC 9110, 12.5.4). */
export function textsFor(locale: string | null, acceptLanguage = ""): Texts {
  const accepted = acceptLanguage
    .split(",", TAGS_MAX)
    .map((part) => {
      const [tag = "", weight = "1"] = part.split(/;\s*q=/);
      return { tag, weight: Number(weight) };
    })
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => b.weight - a.weight);
  const wanted = [locale ?? "", ...accepted.map(({ tag }) => tag)];
  const names = wanted.map((tag) => tag.trim().toLowerCase().split("-")[0] ?? "");
  const known = names.find((name) => Object.hasOwn(languages, name));
  return languages[known ?? "en"] ?? { ...english, lang: "en" };
}

/** The text of a problem for users, or its own text if no page is expected to meet it. */
export function refusalIn(texts: Texts, problem: Problem, minLength: number): string {
  const known: Record<string, { text: string }> = texts.problems;
  const fields: Record<string, string> = texts.fields;
  const fieldTexts = (problem.errors ?? []).map(({ code }) => fields[code] ?? "");
  const text = fieldTexts.length > 0 ? fieldTexts.join(" ") : known[problem.code]?.text;
  if (!text) return problemText(problem);
  return text.replace("{min}", String(minLength)).replace("{max}", String(PASSWORD_MAX_LENGTH));
}
