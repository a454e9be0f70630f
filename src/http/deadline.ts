import type { Ctx } from "../ctx.ts";
import { Problem } from "../kit/problem.ts";
import { responseTo } from "./problems.ts";
import { contextOf, type Handler } from "./request-context.ts";

/** Longer than a wait for hashing, shorter than a statement may take: five seconds in all. */
const RESPONSE_MAX_MS = 4_500;
const CHECK_EVERY_MS = 250;

/**
 * Answers 503 if a request takes too long because the database hangs, whatever becomes of the work.
 * The time to receive the body does not count: http/body limits that. Nor is it load: a client that
 * sends its body slowly costs nothing.
 */
export function withDeadline({ load, log }: Ctx, next: Handler) {
  /** The requests in flight. */
  const pending = new Map<Request, (response: Response) => void>();
  const check = () => {
    const overdueBefore = performance.now() - RESPONSE_MAX_MS;
    for (const [request, respond] of pending) {
      const context = contextOf(request);
      if ((context.bodyReadAt ?? Number.POSITIVE_INFINITY) > overdueBefore) continue;
      const problem = new Problem("database_unavailable");
      context.problemCode = problem.code;
      respond(responseTo(problem, context));
    }
  };
  const timer = setInterval(check, CHECK_EVERY_MS).unref();
  const handle: Handler = (request) => {
    const response = next(request);
    if (!(response instanceof Promise)) return response;
    const context = contextOf(request);
    const addToLoad = () => load.addRequest(1);
    if (context.bodyReadAt === undefined) context.onBodyRead = addToLoad;
    else addToLoad();
    return new Promise((resolve) => {
      const respond = (found: Response) => {
        // A response after the deadline ends nothing.
        if (pending.delete(request) && context.bodyReadAt !== undefined) load.addRequest(-1);
        resolve(found);
      };
      pending.set(request, respond);
      response.then(respond, (error) => {
        log.error({ err: error, request_id: context.id }, "Unhandled error in a request.");
        respond(responseTo(new Problem("internal"), context));
      });
    });
  };
  return { handle, running: () => pending.size, close: () => clearInterval(timer) };
}
