/** A receiver of webhooks, over real HTTP. */

export interface Received {
  headers: Record<string, string>;
  /** The body as it was sent, for signatures. */
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads the members that it expects
  body: any;
  at: number;
}

type Answer = (received: Received) => Response | Promise<Response>;

const ok: Answer = () => new Response("ok");

/** `answer` can be replaced while it runs. */
export function openReceiver(answer: Answer = ok) {
  const received: Received[] = [];
  const receiver = { answer };
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 60,
    fetch: async (request) => {
      const text = await request.text();
      const one = {
        headers: Object.fromEntries(request.headers),
        text,
        body: JSON.parse(text),
        at: Date.now(),
      };
      received.push(one);
      return receiver.answer(one);
    },
  });
  return Object.assign(receiver, {
    url: `http://127.0.0.1:${server.port}/hook`,
    received,
    types: (): string[] => received.map(({ body }) => body.type),
    ids: (): string[] => received.map(({ headers }) => headers["webhook-id"] ?? ""),
    close: () => server.stop(true),
  });
}
export type Receiver = ReturnType<typeof openReceiver>;
