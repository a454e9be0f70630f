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
import type { Handler } from "./request-context.ts";

/** The routes that sign a user in. */
const signInBy: Record<string, "password" | "email"> = {
  "/api/v1/auth/login": "password",
  "/api/v1/auth/email-code/verify": "email",
  "/sign-in": "email",
};

/** Records each request, if metrics are enabled. */
export function httpMetrics({ metrics }: Ctx): Observer[] {
  if (metrics === noMetrics) return [];
  const onResponse: Observer["onResponse"] = ({ method, response, context, seconds }) =>
    metrics.endRequest({
      method,
      route: context.route,
      status: response.status,
      seconds,
      problem: context.problemCode,
      signIn: method === "POST" ? signInBy[context.route ?? ""] : undefined,
    });
  return [{ onRequest: metrics.startRequest, onResponse }];
}

const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";
const scrape = async ({ metrics }: Ctx): Promise<Response> =>
  new Response(await metrics.text(), { headers: { "content-type": CONTENT_TYPE } });

const refuse = (status: number, text: string) => new Response(`${text}\n`, { status });

/** The handler of METRICS_PORT. It serves only metrics and requires no token. */
export function metricsHandler(ctx: Ctx): Handler {
  const { metricsHost } = ctx.config;
  const isLocal = isLoopback(metricsHost) || isLocalHost(metricsHost);
  return (request) => {
    if (!hasValidHost(request))
      return refuse(400, "The Host header is empty, repeated or malformed.");
    // DNS rebinding: the page of another site must not read what trusts this machine.
    if (isLocal && !isLocalHost(request.headers.get("host") ?? ""))
      return refuse(
        403,
        "Use a local host name, such as localhost. To serve other hosts, set METRICS_HOST.",
      );
    if (request.method !== "GET" || pathOf(request) !== "/metrics")
      return refuse(404, "Not found. This port serves only GET /metrics.");
    return scrape(ctx);
  };
}

/** `/metrics` on the API listener. Without METRICS_TOKEN it answers 404. */
export const metricsRoutes = (ctx: Ctx) => {
  const { metricsToken } = ctx.config;
  return new Elysia({ name: "metrics" }).use(guard(ctx)).get(
    "/metrics",
    ({ headers }) => {
      if (metricsToken === undefined) throw new Problem("not_found");
      const token = credentialsOf(headers["authorization"], "bearer");
      if (token === undefined) throw new Problem("not_signed_in");
      if (!isSecret(token, metricsToken)) throw new Problem("invalid_token");
      return scrape(ctx);
    },
    { public: true, response: t.Any(), detail: { hide: true } },
  );
};
