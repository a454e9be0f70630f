/** Clients of streams of events: server-sent events by fetch, and WebSockets. */
import { until } from "./until.ts";

export interface Envelope {
  id: string;
  type: string;
  subject?: string;
  sequence: string;
  data: Record<string, unknown>;
}

/** One server-sent event, or a comment. */
interface Block {
  id?: string;
  event?: string;
  data?: string;
  retry?: string;
  comment?: string;
}

function blockOf(text: string): Block {
  const fields = text.split("\n").map((line) => {
    const at = line.indexOf(":");
    return [at === 0 ? "comment" : line.slice(0, at), line.slice(at + 1).trimStart()];
  });
  return Object.fromEntries(fields);
}

export interface Sse {
  status: number;
  headers: Headers;
  blocks: Block[];
  /** The envelopes, in order. */
  events: Envelope[];
  isOver: boolean;
  /** The body of a refusal. */
  // biome-ignore lint/suspicious/noExplicitAny: a test reads the members that it expects
  problem: any;
  close: () => void;
}

/** Opens a stream of server-sent events, and collects what arrives. */
export async function openSse(url: string, headers: Record<string, string> = {}): Promise<Sse> {
  const controller = new AbortController();
  const response = await fetch(url, { headers, signal: controller.signal });
  const sse: Sse = {
    status: response.status,
    headers: response.headers,
    blocks: [],
    events: [],
    isOver: false,
    problem: undefined,
    close: () => controller.abort(),
  };
  if (response.status === 200) void collect(response, sse);
  else sse.problem = await response.json();
  return sse;
}

async function collect({ body }: Response, sse: Sse): Promise<void> {
  let text = "";
  const decoder = new TextDecoder();
  try {
    for await (const chunk of body ?? []) {
      text += decoder.decode(chunk, { stream: true });
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks.map(blockOf)) {
        sse.blocks.push(block);
        if (block.data) sse.events.push(JSON.parse(block.data));
      }
    }
  } catch {
    // The client closed it, or the connection broke.
  }
  sse.isOver = true;
}

export interface Socket {
  /** Each message, parsed. */
  // biome-ignore lint/suspicious/noExplicitAny: a test reads the members that it expects
  messages: any[];
  events: Envelope[];
  isOpen: boolean;
  closed: { code: number; reason: string } | undefined;
  protocol: () => string;
  send: (message: unknown) => void;
  sendRaw: (message: string | Uint8Array) => void;
  close: () => void;
}

interface Handshake {
  headers?: Record<string, string>;
  protocols?: string[];
}

/** Opens a WebSocket. `closed` is set if the handshake fails, too. */
export async function openSocket(url: string, handshake: Handshake = {}): Promise<Socket> {
  const ws = new WebSocket(url.replace(/^http/, "ws"), handshake as never);
  const socket: Socket = {
    messages: [],
    events: [],
    isOpen: false,
    closed: undefined,
    protocol: () => ws.protocol,
    send: (message) => ws.send(JSON.stringify(message)),
    sendRaw: (message) => ws.send(message),
    close: () => ws.close(),
  };
  ws.onmessage = ({ data }) => {
    const message = JSON.parse(String(data));
    socket.messages.push(message);
    if (message.specversion) socket.events.push(message);
  };
  ws.onclose = ({ code, reason }) => {
    socket.closed = { code, reason };
  };
  ws.onopen = () => {
    socket.isOpen = true;
  };
  await until(() => socket.isOpen || socket.closed !== undefined);
  return socket;
}
