import { contextOf, type Handler, type RequestContext } from "./request-context.ts";

/** A request, its response and its request context. */
export interface HandledRequest {
  method: string;
  request: Request;
  response: Response;
  context: RequestContext;
  seconds: number;
}

export interface Observer {
  onRequest?: () => void;
  onResponse: (handled: HandledRequest) => void;
}

/** Notifies each observer of each request and response. */
export function withObservers(answer: Handler, observers: Observer[]): Handler {
  if (observers.length === 0) return answer;
  const notify = (request: Request, response: Response, startedAt: number): Response => {
    const seconds = (performance.now() - startedAt) / 1000;
    const handled = {
      method: methodOf(request),
      request,
      response,
      context: contextOf(request),
      seconds,
    };
    for (const observer of observers) observer.onResponse(handled);
    return response;
  };
  return (request) => {
    for (const { onRequest } of observers) onRequest?.();
    const startedAt = performance.now();
    const response = answer(request);
    return response instanceof Promise
      ? response.then((one) => notify(request, one, startedAt))
      : notify(request, response, startedAt);
  };
}

export const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/** A closed list, as OpenTelemetry's semantic conventions require (http.request.method). */
export const methodOf = ({ method }: Request): string =>
  METHODS.includes(method) ? method : "_OTHER";
