import type { App } from "./app.ts";
import type { Ctx } from "./ctx.ts";
import { accessLog } from "./http/access-log.ts";
import { withConnectionClose } from "./http/connection-close.ts";
import { withCors } from "./http/cors.ts";
import { withDeadline } from "./http/deadline.ts";
import { withHost } from "./http/host.ts";
import { httpMetrics } from "./http/metrics.ts";
import { withObservers } from "./http/observers.ts";
import type { Handler } from "./http/request-context.ts";
import { withTracing } from "./http/tracing.ts";
import { withErrorPages } from "./pages/error-page.ts";

export interface Pipeline {
  handle: Handler;
  /** The number of requests in flight. */
  running: () => number;
  close: () => void;
}

/** Every wrapper around the app, outermost first. The hooks inside the app: `createApp`. */
export function createPipeline(ctx: Ctx, app: App): Pipeline {
  const { handle, running, close } = withDeadline(ctx, app.fetch);
  const observers = [...accessLog(ctx), ...httpMetrics(ctx)];
  const wrappers: ((inner: Handler) => Handler)[] = [
    (inner) => withHost(inner, () => app.server),
    (inner) => withConnectionClose(ctx, inner),
    (inner) => withTracing(ctx, inner),
    (inner) => withObservers(inner, observers),
    (inner) => withCors(ctx, inner),
    (inner) => withErrorPages(ctx, inner),
  ];
  return { handle: wrappers.reduceRight((inner, wrap) => wrap(inner), handle), running, close };
}
