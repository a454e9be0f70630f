import type { Ctx } from "../ctx.ts";
import { isDropped } from "./dropped.ts";
import type { Handler } from "./request-context.ts";
import { discardBody } from "./unread-body.ts";

/**
 * Answers when the body has arrived, also where no route reads it, and closes the connection behind the answer
 * - while the process stops (RFC 9112, section 9.6): a request that is sent at that moment would be lost;
 * - after a chunked request: Bun answers a trailer section with a second response, 400, and a proxy that shares connections
 *   would hand that to another client.
 */
export const withConnectionClose =
  ({ lifecycle }: Ctx, answer: Handler): Handler =>
  (request) => {
    const isLast = lifecycle.isStopping || request.headers.has("transfer-encoding");
    if (BODILESS.includes(request.method) && !isLast) return answer(request);
    return afterBody(request, { answer: unlessDropped(request, answer), isLast });
  };

/** For a request with a body, http/body checks this once the whole body is there. */
const unlessDropped = (request: Request, answer: Handler): ReturnType<Handler> =>
  request.body ? answer(request) : answerNextTurn(request, answer);

/** The client of a closed connection never sees the 400. */
const answerNextTurn = async (request: Request, answer: Handler): Promise<Response> =>
  (await isDropped(request)) ? new Response(null, { status: 400 }) : answer(request);

/** Bun itself discards the body of such a request, and hands over none. */
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
