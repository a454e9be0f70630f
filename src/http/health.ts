import { Elysia, t } from "elysia";
import type { Ctx } from "../ctx.ts";
import { version } from "../kit/build.ts";
import { checkState } from "../limits/shared-store.ts";
import { guard } from "./guard.ts";
import { RETRY_AFTER_SECONDS } from "./problems.ts";
import { described, literals } from "./schemas.ts";

const State = literals(["ok", "failed"]);
const service = (description: string) =>
  t.Union([t.Literal("ok"), t.Literal("away"), t.Literal("off")], { description });
const Readiness = t.Object({
  status: State,
  database: State,
  migrations: State,
  disk: State,
  server: t.Union([t.Literal("ok"), t.Literal("stopping")], {
    description:
      "`stopping`: the server is shutting down. It still answers requests; send new ones to another instance.",
  }),
  mail: service(
    "`off`: MAIL_URL is not set. `away`: the last attempt to send mail could not reach the server; mails wait in the outbox. Neither makes the status `failed`.",
  ),
  redis: service(
    "`off`: REDIS_URL is not set. `away`: Redis is unavailable, and PostgreSQL does its work. Neither makes the status `failed`.",
  ),
});
const serving = <const T extends "ok" | "stopping">(word: T, description: string) =>
  t.Object({ server: t.Literal(word) }, { description });
const live = { status: "ok" as const };
const liveSchema = {
  type: "object",
  required: ["status"],
  properties: { status: { const: "ok", type: "string" } },
};

/** Liveness and readiness for load balancers and orchestrators, and the version. */
export const healthRoutes = (ctx: Ctx) => {
  const liveness = {
    public: true as const,
    // The response is constant and requested by every probe: it needs no validation.
    response: { 200: described<typeof live>(liveSchema) },
  };
  const readiness = { public: true as const, response: { 200: Readiness, 503: Readiness } };
  const ready = async () => {
    const found = await ctx.readiness();
    const { isStopping } = ctx.lifecycle;
    const isReady = !isStopping && Object.values(found).every((state) => state === "ok");
    return {
      code: isReady ? 200 : 503,
      body: {
        status: isReady ? "ok" : "failed",
        ...found,
        server: isStopping ? "stopping" : "ok",
        mail: mailOf(ctx),
        redis: await checkState(ctx.sharedStore),
      },
    } as const;
  };
  return new Elysia({ name: "health", tags: ["operation"] })
    .use(guard(ctx))
    .get("/livez", () => live, {
      ...liveness,
      detail: {
        operationId: "isLive",
        summary: "Check liveness",
        description: "Shows that the process responds. Checks nothing else.",
      },
    })
    .get(
      "/readyz",
      async ({ status, set }) => {
        const { code, body } = await ready();
        if (code === 503) set.headers["retry-after"] = String(RETRY_AFTER_SECONDS);
        return status(code, body);
      },
      {
        ...readiness,
        detail: {
          operationId: "isReady",
          summary: "Check readiness",
          description:
            "For monitoring. Checks that the database answers, that its migrations are complete, and that the disk of an embedded PostgreSQL has space. Also returns 503 from the start of a shutdown.",
        },
      },
    )
    .get(
      "/readyz/server",
      ({ status, set }) => {
        if (!ctx.lifecycle.isStopping) return status(200, { server: "ok" as const });
        set.headers["retry-after"] = String(RETRY_AFTER_SECONDS);
        return status(503, { server: "stopping" as const });
      },
      {
        public: true,
        response: {
          200: serving("ok", "The server accepts requests."),
          503: serving("stopping", "The server is shutting down. Use another instance."),
        },
        detail: {
          operationId: "isServing",
          summary: "Check whether the server accepts requests",
          description:
            "For proxies and orchestrators that remove instances that are not ready. Returns 503 from the start of a shutdown. Never returns 503 because of the database: Bunker reports an outage of the database to clients itself. Checks nothing else.",
        },
      },
    )
    .get("/health", () => live, { ...liveness, detail: { hide: true } })
    .get("/healthz", () => live, { ...liveness, detail: { hide: true } })
    .get("/version", () => ({ version }), {
      public: true,
      detail: { operationId: "getVersion", summary: "Get the version" },
      response: { 200: t.Object({ version: t.String({ examples: ["0.1.0"] }) }) },
    });
};

const mailOf = ({ mail }: Ctx): "ok" | "away" | "off" => {
  if (!mail) return "off";
  return mail.isUnavailable ? "away" : "ok";
};
