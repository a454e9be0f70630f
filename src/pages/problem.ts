import { escaped } from "../kit/html.ts";
import { type ProblemCode, problems } from "../kit/problem-codes.ts";
import { page } from "./page.ts";

export function problemIndex(): string {
  const rows = (Object.keys(problems) as ProblemCode[])
    .toSorted((a, b) => problems[a].status - problems[b].status)
    .map(
      (code) =>
        `<li>${problems[code].status} <a href="/problems/${code}"><code>${code}</code></a> ${escaped(problems[code].title)}</li>`,
    );
  return page(
    "Problems",
    `<h1>Problems</h1><p>The <code>code</code> of an error response, and what to do about it.</p><ul>${rows.join("")}</ul>`,
  );
}

/** The page at the `type` of a problem: what the code means and what to do. */
export const problemPage = (code: ProblemCode): string => {
  const { status, title, detail, remedy } = problems[code];
  return page(
    title,
    `<p class="code">${status} <code>${code}</code></p><h1>${escaped(title)}</h1><p>${formatted(detail)}.</p><p>${formatted(remedy)}</p>`,
  );
};

const formatted = (text: string): string => escaped(text).replace(/`([^`]+)`/g, "<code>$1</code>");
