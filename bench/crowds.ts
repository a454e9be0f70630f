import { setTimeout as sleep } from "node:timers/promises";
import { type Follower, followByWebSocket } from "./followers.ts";
import { residentBytesOf } from "./process-table.ts";
import { type Measured, openMeasured, percentile } from "./publishing.ts";
import type { Row } from "./table.ts";
import { stop, type Workspace } from "./workspace.ts";

const OPENED_AT_ONCE = 100;
const SETTLE_MS = 3_000;

type Follow = typeof followByWebSocket;

/** Many idle clients of one process: its memory for them, and how long one event takes to all. */
export async function measureCrowds(workspace: Workspace): Promise<Row[]> {
  const sockets = await measureCrowd(workspace, followByWebSocket, 10_000);
  const streams = await measureCrowd(workspace, listenBySse, 5_000);
  const memory = (what: string, { megabytes }: Crowd, most: number): Row => ({
    what: `memory of ${what}, over the idle process`,
    measured: `${megabytes.toFixed(0)} MB`,
    must: `≤ ${most} MB`,
    isMet: megabytes <= most,
  });
  return [
    memory("10,000 idle WebSockets", sockets, 60),
    {
      what: "one event to 10,000 WebSockets, p99",
      measured: `${sockets.p99.toFixed(0)} ms`,
      must: "≤ 300 ms",
      isMet: sockets.p99 <= 300,
    },
    memory("5,000 idle SSE clients", streams, 40),
    {
      what: "one event to 5,000 SSE clients, p99",
      measured: `${streams.p99.toFixed(0)} ms`,
      must: "",
      isMet: undefined,
    },
  ];
}

/** On a bare socket: fetch opens 256 connections at most. */
async function listenBySse(
  { port }: Measured["server"],
  token: string,
  onEvent: (text: string) => void,
): Promise<Follower> {
  const { promise, resolve } = Promise.withResolvers<Follower>();
  const stop = () => socket.end();
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      data: (_, chunk) => {
        resolve({ stop });
        onEvent(chunk.toString());
      },
    },
  });
  socket.write(
    `GET /api/v1/events/stream HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\n\r\n`,
  );
  return promise;
}

interface Crowd {
  megabytes: number;
  p99: number;
}

async function measureCrowd(workspace: Workspace, follow: Follow, count: number): Promise<Crowd> {
  const measured = await openMeasured(workspace);
  const { server } = measured;
  await sleep(SETTLE_MS);
  const before = residentBytesOf(server.pid);
  const arrivals: number[] = [];
  const followers: Follower[] = [];
  const onEvent = (text: string) => {
    if (text.includes('"user.updated"')) arrivals.push(performance.now());
  };
  while (followers.length < count) {
    const opening = Array.from({ length: OPENED_AT_ONCE }, () =>
      follow(server, measured.token, onEvent),
    );
    followers.push(...(await Promise.all(opening)));
  }
  await sleep(SETTLE_MS);
  const megabytes = (residentBytesOf(server.pid) - before) / 1e6;
  const p99 = await measureBroadcast(measured, { arrivals, count });
  for (const follower of followers) follower.stop();
  await stop(server.program);
  return { megabytes, p99 };
}

/** From the request that causes the event, so the time of the change itself counts as well. */
async function measureBroadcast(
  measured: Measured,
  { arrivals, count }: { arrivals: number[]; count: number },
): Promise<number> {
  const headers = {
    authorization: `Bearer ${measured.tokens[0]}`,
    "content-type": "application/json",
  };
  const startedAt = performance.now();
  await fetch(`http://127.0.0.1:${measured.server.port}/api/v1/users/me`, {
    method: "PATCH",
    headers,
    body: JSON.stringify({ full_name: "Everyone gets this" }),
  });
  const giveUpAt = startedAt + 10_000;
  while (arrivals.length < count && performance.now() < giveUpAt) await sleep(10);
  if (arrivals.length < count) throw new Error(`${arrivals.length} of ${count} clients got it`);
  return percentile(arrivals, 0.99) - startedAt;
}
