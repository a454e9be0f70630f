import type { Ctx } from "../ctx.ts";
import { isConnectionClosed } from "./closed-connection.ts";
import type { Handler } from "./request-context.ts";
import { discardBody } from "./unread-body.ts";

/**
 * Sends the response when the whole body has arrived, even if no route reads it. Closes the
 * connection after the response
 * - during a graceful shutdown (RFC 9112, section 9.6): a request that the client sends at that
 *   moment would be lost;
 * - after a chunked request: Bun answers a trailer section with a second response, 400. A proxy
 *   that shares connections would deliver it to another client (response desynchronization).
 */
export const withConnectionClose =
  ({ lifecycle }: Ctx, next: Handler): Handler =>
  (request) => {
    const isLast = lifecycle.isStopping || request.headers.has("transfer-encoding");
    if (BODILESS.includes(request.method) && !isLast) return next(request);
    return answerAfterBody(request, { next, isLast });
  };

/** Bun itself discards the body of these requests, and passes on none. */
const BODILESS = ["GET", "HEAD"];

async function answerAfterBody(
  request: Request,
  { next, isLast }: { next: Handler; isLast: boolean },
): Promise<Response> {
  // http/body checks this for a request with a body. The client never sees this 400.
  if (!request.body && (await isConnectionClosed(request)))
    return new Response(null, { status: 400 });
  const response = await next(request);
  await discardBody(request);
  if (isLast) response.headers.set("connection", "close");
  return response;
}
