import type { Ctx } from "../ctx.ts";
import { isPathIn, pathOf } from "../http/host.ts";
import { contextOf, type Handler, mapResponse } from "../http/request-context.ts";
import { notice } from "./forms.ts";
import { LINK_PATHS } from "./links.ts";
import { openUserPages } from "./page.ts";
import { openProductLink } from "./product-link.ts";
import { type Texts, textsFor } from "./texts.ts";

/** Paths for programs: they get JSON even if a browser calls them. */
const API = /^\/(api|oauth|\.well-known)\//;

/** Answers browsers with a page. Wraps the whole app, so that it covers every refusal. */
export function withErrorPages(ctx: Ctx, next: Handler): Handler {
  const userPage = openUserPages(ctx.config);
  const productLink = openProductLink(ctx.config);
  const pageOf = (request: Request, refused: Response): Response => {
    const texts = textsFor(null, request.headers.get("accept-language") ?? "");
    const { title, text } = problemTexts(texts, contextOf(request).problemCode);
    const body = notice(title, text) + productLink(texts);
    const page = userPage({ lang: texts.lang, title, body }, refused.status);
    for (const [name, value] of refused.headers)
      if (!page.headers.has(name)) page.headers.set(name, value);
    return page;
  };
  const withPage = (request: Request, response: Response): Response =>
    isProblem(response) && wantsPage(request) ? pageOf(request, response) : response;
  return (request) => mapResponse(next(request), (response) => withPage(request, response));
}

const isProblem = ({ status, headers }: Response): boolean =>
  status >= 400 && (headers.get("content-type") ?? "").startsWith("application/problem+json");

function wantsPage(request: Request): boolean {
  const path = pathOf(request);
  if (isPathIn(LINK_PATHS, path)) return true;
  return !API.test(path) && (request.headers.get("accept") ?? "").includes("text/html");
}

function problemTexts({ problems }: Texts, code: string | undefined) {
  const known: Record<string, { title?: string; text: string }> = problems;
  return { ...problems.other, ...known[code ?? ""] };
}
