import { Elysia, t } from "elysia";
import type { Ctx } from "../ctx.ts";
import { guard } from "../http/guard.ts";
import type { RequestParts } from "../http/request-context.ts";
import { fieldProblem, Problem } from "../kit/problem.ts";
import { type ProblemCode, problems } from "../kit/problem-codes.ts";
import { listMails, readMail, readMails } from "../modules/mail/mail.ts";
import {
  isFromThisMachine,
  mailboxPage,
  mailHeaders,
  mailPage,
  mailView,
  sourceOf,
} from "./mailbox.ts";
import { icon, pageHeaders } from "./page.ts";
import { problemIndex, problemPage } from "./problem.ts";
import { openStartPage } from "./start-page.ts";

const isProblemCode = (text: string): text is ProblemCode => Object.hasOwn(problems, text);

/** A function, because Elysia mutates the options of a route. */
const hidden = () => ({ public: true as const, response: t.Any(), detail: { hide: true } });

export const pageRoutes = (ctx: Ctx) => {
  const startPage = openStartPage(ctx);
  return new Elysia({ name: "pages", tags: ["operation"] })
    .use(guard(ctx))
    .get("/", ({ headers }) => startPage(headers["accept-language"]), hidden())
    .get(
      "/favicon.ico",
      () =>
        new Response(icon, {
          headers: { "content-type": "image/svg+xml", "cache-control": "public, max-age=86400" },
        }),
      hidden(),
    )
    .get("/problems", () => new Response(problemIndex(), { headers: pageHeaders }), hidden())
    .get(
      "/problems/:code",
      ({ params }) => {
        if (!isProblemCode(params.code)) throw new Problem("not_found");
        return new Response(problemPage(params.code), { headers: pageHeaders });
      },
      {
        ...hidden(),
        params: t.Object({ code: t.String({ maxLength: 64 }) }),
      },
    );
};

const ById = t.Object({ id: t.String({ maxLength: 64 }) });

/** Refuses unknown parameters: a misspelled one would return the mails of all users. */
function recipientIn({ url }: Request): string | undefined {
  const [, query = ""] = url.split("?", 2);
  const searchParams = new URLSearchParams(query);
  const names = [...searchParams.keys()];
  if (names.length === 0 || (names.length === 1 && names[0] === "to"))
    return searchParams.get("to") ?? undefined;
  const detail = "may have only one parameter: to";
  throw new Problem("invalid_request", {
    errors: [fieldProblem("/query", "unknown_field", detail)],
  });
}

/** The mailbox of a development server, only for requests from this machine. All others get 404. */
export const mailboxRoutes = (ctx: Ctx) => {
  const isOpen = ctx.config.environment === "development" && ctx.mail?.isMailbox === true;
  const refuseRemote = ({ request, server }: Pick<RequestParts, "request" | "server">) => {
    const peer = server?.requestIP(request)?.address;
    if (!isOpen || !isFromThisMachine(ctx.config, request, peer)) throw new Problem("not_found");
  };
  return new Elysia({ name: "mailbox", prefix: "/dev" })
    .use(guard(ctx))
    .get(
      "/mailbox.json",
      async ({ request, server }) => {
        refuseRemote({ request, server });
        return (await readMails(ctx, recipientIn(request))).map(mailView);
      },
      hidden(),
    )
    .get(
      "/mailbox",
      async ({ request, server }) => {
        refuseRemote({ request, server });
        return new Response(mailboxPage(await listMails(ctx)), { headers: pageHeaders });
      },
      hidden(),
    )
    .get(
      "/mailbox/:id",
      async ({ request, server, params }) => {
        refuseRemote({ request, server });
        const { queued, rendered } = await readMail(ctx, params.id);
        return new Response(mailPage(queued, rendered), { headers: pageHeaders });
      },
      { ...hidden(), params: ById },
    )
    .get(
      "/mailbox/:id/:part",
      async ({ request, server, params }) => {
        refuseRemote({ request, server });
        const { queued, rendered } = await readMail(ctx, params.id);
        if (params.part === "html") return new Response(rendered.html, { headers: mailHeaders });
        return new Response(sourceOf(queued, rendered), {
          headers: { "content-type": "text/plain; charset=utf-8" },
        });
      },
      {
        ...hidden(),
        params: t.Object({
          ...ById.properties,
          part: t.Union([t.Literal("html"), t.Literal("source")]),
        }),
      },
    );
};
