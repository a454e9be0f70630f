import { Elysia, t } from "elysia";
import { isSecret } from "../credentials/secret.ts";
import type { Ctx } from "../ctx.ts";
import { credentialsOf } from "../kit/authorization.ts";
import { noMetrics } from "../kit/metrics.ts";
import { isLocalHost, isLoopback } from "../kit/network.ts";
import { Problem } from "../kit/problem.ts";
import { guard } from "./guard.ts";
import { hasValidHost, pathOf } from "./host.ts";
import type { Observer } from "./observers.ts";

/** The routes that sign a user in. */
const signInBy: Record<string, "password" | "email"> = {
  "/api/v1/auth/login": "password",
  "/api/v1/auth/email-code/verify": "email",
  "/sign-in": "email",
};

/** Counts each response, if metrics are enabled. */
export const httpMetrics = ({ metrics }: Ctx): Observer[] =>
  metrics !== noMetrics
    ? [
        {
          onRequest: metrics.begin,
          onResponse: ({ method, response, context, seconds }) =>
            metrics.answered({
              method,
              route: context.route,
              status: response.status,
              seconds,
              refusal: context.refusal,
              signIn: method === "POST" ? signInBy[context.route ?? ""] : undefined,
            }),
        },
      ]
    : [];

const TEXT = { "content-type": "text/plain; version=0.0.4; charset=utf-8" };
const textOf = async ({ metrics }: Ctx): Promise<Response> =>
  new Response(await metrics.text(), { headers: TEXT });

/** The handler of METRICS_PORT. It serves only metrics and requires no token. */
export const metricsOnly =
  (ctx: Ctx) =>
  (request: Request): Response | Promise<Response> => {
    if (!hasValidHost(request))
      return new Response("The Host header is empty, repeated or malformed.\n", { status: 400 });
    const { metricsHost } = ctx.config;
    const isForThisMachine = isLoopback(metricsHost) || isLocalHost(metricsHost);
    if (isForThisMachine && !isLocalHost(request.headers.get("host") ?? ""))
      return new Response(
        "Use a local host name, such as localhost. To serve other hosts, set METRICS_HOST.\n",
        {
          status: 403,
        },
      );
    return request.method === "GET" && pathOf(request) === "/metrics"
      ? textOf(ctx)
      : new Response("Only GET /metrics is here.\n", { status: 404 });
  };

/**
 * `/metrics` on the API listener, with METRICS_TOKEN as bearer token. Without that setting it
 * answers 404.
 */
export const metricsRoutes = (ctx: Ctx) => {
  const { metricsToken } = ctx.config;
  return new Elysia({ name: "metrics" }).use(guard(ctx)).get(
    "/metrics",
    ({ headers }) => {
      if (metricsToken === undefined) throw new Problem("not_found");
      const token = credentialsOf(headers["authorization"], "bearer");
      if (token === undefined) throw new Problem("not_signed_in");
      if (!isSecret(token, metricsToken)) throw new Problem("invalid_token");
      return textOf(ctx);
    },
    { public: true, response: t.Any(), detail: { hide: true } },
  );
};
