import { Elysia, t } from "elysia";
import type { Ctx } from "../ctx.ts";
import { guard } from "../http/guard.ts";
import { Problem, type ProblemCode, problems } from "../kit/problem.ts";
import { icon, pageHeaders } from "./page.ts";
import { problemPage } from "./problem.ts";

const isCode = (text: string): text is ProblemCode => Object.hasOwn(problems, text);

export const pageRoutes = (ctx: Ctx) =>
  new Elysia({ name: "pages", tags: ["operation"] })
    .use(guard(ctx))
    .get("/", ({ redirect }) => redirect("/docs"), {
      public: true,
      response: t.Any(),
      detail: { hide: true },
    })
    .get(
      "/favicon.ico",
      () =>
        new Response(icon, {
          headers: { "content-type": "image/svg+xml", "cache-control": "public, max-age=86400" },
        }),
      { public: true, response: t.Any(), detail: { hide: true } },
    )
    .get(
      "/problems/:code",
      ({ params }) => {
        if (!isCode(params.code)) throw new Problem("not_found");
        return new Response(problemPage(params.code), { headers: pageHeaders });
      },
      {
        public: true,
        params: t.Object({ code: t.String({ maxLength: 64 }) }),
        response: t.Any(),
        detail: { hide: true },
      },
    );
