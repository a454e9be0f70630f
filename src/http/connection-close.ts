import type { Ctx } from "../ctx.ts";
import { isDropped } from "./dropped.ts";
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
  ({ lifecycle }: Ctx, answer: Handler): Handler =>
  (request) => {
    const isLast = lifecycle.isStopping || request.headers.has("transfer-encoding");
    if (BODILESS.includes(request.method) && !isLast) return answer(request);
    return afterBody(request, { answer: unlessDropped(request, answer), isLast });
  };

/** http/body checks a request with a body, once the whole body has arrived. */
const unlessDropped = (request: Request, answer: Handler): ReturnType<Handler> =>
  request.body ? answer(request) : answerNextTurn(request, answer);

/** The connection is closed: the client never sees this 400. */
const answerNextTurn = async (request: Request, answer: Handler): Promise<Response> =>
  (await isDropped(request)) ? new Response(null, { status: 400 }) : answer(request);

/** Bun itself discards the body of these requests, and passes on none. */
const BODILESS = ["GET", "HEAD"];

async function afterBody(
  request: Request,
  { answer, isLast }: { answer: ReturnType<Handler>; isLast: boolean },
): Promise<Response> {
  const response = await answer;
  await discardBody(request);
  if (isLast) response.headers.set("connection", "close");
  return response;
}
