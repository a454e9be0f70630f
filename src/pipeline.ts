import type { App } from "./app.ts";
import type { Ctx } from "./ctx.ts";
import { accessLog } from "./http/access-log.ts";
import { withCors } from "./http/cors.ts";
import { deadlined } from "./http/deadline.ts";
import { withHost } from "./http/host.ts";
import { httpFigures } from "./http/metrics.ts";
import { observed } from "./http/observed.ts";
import { parting } from "./http/parting.ts";
import { traced } from "./http/traced.ts";
import type { Answering } from "./http/trail.ts";
import { withErrorPages } from "./pages/error-page.ts";

export interface Pipeline {
  handle: Answering;
  /** How many requests are being handled. */
  running: () => number;
  close: () => void;
}

/** Every wrapper around the app, outermost first. The hooks inside the app follow in `createApp`. */
export function createPipeline(ctx: Ctx, app: App): Pipeline {
  const { answer, running, close } = deadlined(ctx, app.fetch);
  const observers = [...accessLog(ctx), ...httpFigures(ctx)];
  const wrappers: ((inner: Answering) => Answering)[] = [
    (inner) => withHost(inner, () => app.server),
    (inner) => parting(ctx, inner),
    (inner) => traced(ctx, inner),
    (inner) => observed(inner, observers),
    (inner) => withCors(ctx, inner),
    (inner) => withErrorPages(ctx, inner),
  ];
  return { handle: wrappers.reduceRight((inner, wrap) => wrap(inner), answer), running, close };
}
