import type { Ctx } from "../ctx.ts";
import type { Answering } from "./trail.ts";

/**
 * While the process is about to end, each answer is the last on its connection (RFC 9112, section 9.6): a client or proxy
 * that kept one open for its next request would send that into the moment when it is closed.
 */
export const parting =
  ({ lifecycle }: Pick<Ctx, "lifecycle">, answer: Answering): Answering =>
  (request) =>
    lifecycle.isStopping ? lastOn(answer(request)) : answer(request);

async function lastOn(answer: Response | Promise<Response>): Promise<Response> {
  const response = await answer;
  response.headers.set("connection", "close");
  return response;
}
