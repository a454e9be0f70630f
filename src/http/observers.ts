import { contextOf, type Handler, mapResponse, type RequestContext } from "./request-context.ts";

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

export function withObservers(next: Handler, observers: Observer[]): Handler {
  if (observers.length === 0) return next;
  const notify = (request: Request, response: Response, startedAt: number): Response => {
    const handled = {
      method: methodOf(request),
      request,
      response,
      context: contextOf(request),
      seconds: (performance.now() - startedAt) / 1000,
    };
    for (const observer of observers) observer.onResponse(handled);
    return response;
  };
  return (request) => {
    for (const { onRequest } of observers) onRequest?.();
    const startedAt = performance.now();
    return mapResponse(next(request), (response) => notify(request, response, startedAt));
  };
}

export const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/** A closed list, as OpenTelemetry's semantic conventions require (http.request.method). */
export const methodOf = ({ method }: Request): string =>
  METHODS.includes(method) ? method : "_OTHER";
