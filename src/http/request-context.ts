import type { UserActor } from "../ctx.ts";
import type { ProblemCode } from "../kit/problem-codes.ts";
import type { RequestHeader } from "./headers.ts";

/** What is learnt of a request while it is answered. */
export interface RequestContext {
  /** Ours, or the one that a trusted proxy gave (X-Request-Id). */
  id: string;
  /** The pattern that matched, such as `/api/v1/users/:id`: one of a fixed list, while paths are without number. */
  route?: string;
  /** From when on its body was there; in milliseconds of `performance.now()`. */
  workedOnSince?: number;
  /** The address at the other end of the socket. */
  peer?: string;
  /** Whose token it came with. */
  userId?: string;
  /** The headers that its route declares that it reads. */
  reads?: readonly RequestHeader[];
  /** Who was let in by it. */
  actor?: UserActor;
  refusal?: ProblemCode;
  /** Of the trace that it is followed in (W3C Trace Context): 32 hexadecimal digits. */
  traceId?: string;
}

/** What stands around the whole app: from a request to its answer. */
export type Handler = (request: Request) => Response | Promise<Response>;

/** Kept on the request itself: a map of a thousand requests that nobody holds any more makes each collection of garbage slow. */
const TRAIL = Symbol("trail");
type WithContext = Request & { [TRAIL]?: RequestContext };

export function contextOf(request: WithContext): RequestContext {
  request[TRAIL] ??= { id: Bun.randomUUIDv7() };
  return request[TRAIL];
}
