import type { Server } from "bun";
import type { UserActor } from "../ctx.ts";
import type { ProblemCode } from "../kit/problem-codes.ts";

/** The parts of Elysia's context that show where a request came from. */
export interface RequestParts {
  request: Request;
  headers: Record<string, string | undefined>;
  set: { headers: Record<string, string | number | string[] | undefined> };
  server: Server<unknown> | null;
}

/** The request context: what is collected about a request while it is handled. */
export interface RequestContext {
  /** Generated here, or given by a trusted proxy (X-Request-Id). */
  id: string;
  /** The pattern of the matched route, such as `/api/v1/users/:id`. */
  route?: string;
  /** When its body had been read, in milliseconds of `performance.now()`. */
  bodyReadAt?: number;
  /** Called when its body has been read. */
  onBodyRead?: () => void;
  /** The IP at the other end of the socket. */
  peer?: string;
  /** The user of its token. */
  userId?: string;
  requestHeaders?: readonly string[];
  /** The authenticated user, set by the route guard. */
  actor?: UserActor;
  /** The problem that its response reports. */
  problemCode?: ProblemCode;
  /** The trace that it belongs to (W3C Trace Context): 32 hexadecimal digits. */
  traceId?: string;
}

/** A wrapper around the app, or the app itself. */
export type Handler = (request: Request) => Response | Promise<Response>;

/** Applies `change` to a response as soon as it is there. A synchronous response stays so. */
export const mapResponse = (
  response: ReturnType<Handler>,
  change: (response: Response) => Response,
): ReturnType<Handler> => (response instanceof Promise ? response.then(change) : change(response));

/** On the request itself: a map of dead requests would slow down each garbage collection. */
const CONTEXT = Symbol("request context");
type WithContext = Request & { [CONTEXT]?: RequestContext };

export function contextOf(request: WithContext): RequestContext {
  request[CONTEXT] ??= { id: Bun.randomUUIDv7() };
  return request[CONTEXT];
}
