import type { Ctx } from "../ctx.ts";
import { Problem } from "../kit/problem.ts";
import { refusalOf } from "./problems.ts";
import { contextOf, type Handler } from "./request-context.ts";

/** Longer than the longest wait for a hash, and shorter than a statement may take: whoever asks gets an answer within five seconds. */
const ANSWER_MAX_MS = 4_500;
const LOOK_EVERY_MS = 250;

export interface Deadline {
  answer: Handler;
  /** How many requests are being worked on. */
  running: () => number;
  close: () => void;
}

/**
 * Gives up what has been worked on for too long, because the database is frozen or out of reach: the answer is 503, whatever
 * becomes of the work. How long a client takes to send its body does not count: http/body sees to that.
 */
export function withDeadline({ log }: Ctx, within: Handler): Deadline {
  const pending = new Map<Request, (response: Response) => void>();
  const look = () => {
    const longAgo = performance.now() - ANSWER_MAX_MS;
    for (const [request, respond] of pending) {
      const context = contextOf(request);
      if ((context.bodyReadAt ?? Number.POSITIVE_INFINITY) > longAgo) continue;
      const problem = new Problem("database_unavailable");
      context.refusal = problem.code;
      respond(refusalOf(problem, context));
    }
  };
  const looking = setInterval(look, LOOK_EVERY_MS).unref();
  const answer: Handler = (request) => {
    const answering = within(request);
    if (!(answering instanceof Promise)) return answering;
    return new Promise((resolve) => {
      const respond = (response: Response) => {
        pending.delete(request);
        resolve(response);
      };
      pending.set(request, respond);
      answering.then(respond, (error) => {
        log.error({ err: error, request_id: contextOf(request).id }, "A request broke the app.");
        respond(refusalOf(new Problem("internal"), contextOf(request)));
      });
    });
  };
  return { answer, running: () => pending.size, close: () => clearInterval(looking) };
}
