/**
 * Made-up values leave nothing behind: a million paths, user agents, IPs and ids, none of them
 * twice. soak.test.ts makes up methods, which Bun's parser refuses.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { emptyFolder, freePort, isBinary, type Serving, serve } from "../support/program.ts";

setDefaultTimeout(600_000);
const MADE_UP = 1_000_000;
const WARM_UP = 50_000;
const CONNECTIONS = 8;
const TOGETHER = 100;
const GROWTH_MAX_MB = 50;
const ANSWER = /HTTP\/1\.1 (\d{3})/g;
const ANSWER_LENGTH = 12;

/** Bun drops a connection on which a request follows one of another method (docs/http.md). */
const METHODS = ["HEAD", "GET"];

/** Every second request needs a user: then its IP and user agent are used. */
const targetOf = (at: number) =>
  at % 2 === 0
    ? `GET /api/v1/users/me?made-up=${at}`
    : `${METHODS[(at >> 1) % METHODS.length]} /made-up-${at}/${at}?${at}`;

const requestOf = (at: number) =>
  [
    `${targetOf(at)} HTTP/1.1`,
    "Host: localhost",
    `User-Agent: agent-${at}`,
    `X-Request-Id: ${at}`,
    `Authorization: Bearer ${at}`,
    `X-Forwarded-For: 10.${(at >> 16) & 255}.${(at >> 8) & 255}.${at & 255}`,
    `Traceparent: 00-${at.toString(16).padStart(32, "a")}-00f067aa0ba902b7-00`,
    "\r\n",
  ].join("\r\n");

/**
 * Sends the requests of a range, many at once over each connection. Returns the count by status.
 */
async function send({ url }: Serving, from: number, to: number): Promise<Map<string, number>> {
  const statuses = new Map<string, number>();
  let next = from;
  const sendOverOne = () =>
    new Promise<void>((done, fail) => {
      let waiting = 0;
      let rest = "";
      const socket = connect(Number(new URL(url).port), "127.0.0.1");
      const more = () => {
        const numbers = Array.from({ length: Math.min(TOGETHER, to - next) }, (_, at) => next + at);
        next += numbers.length;
        waiting = numbers.length;
        if (waiting === 0) socket.end();
        else socket.write(numbers.map(requestOf).join(""));
      };
      socket.on("connect", more).on("error", fail).on("close", done);
      socket.on("data", (chunk) => {
        const text = rest + chunk.toString("latin1");
        let end = 0;
        for (const { 1: status = "", index } of text.matchAll(ANSWER)) {
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
          waiting -= 1;
          end = index + ANSWER_LENGTH;
        }
        // The next one may be incomplete.
        rest = text.slice(Math.max(end, text.length - ANSWER_LENGTH + 1));
        if (waiting === 0) more();
      });
    });
  await Promise.all(Array.from({ length: CONNECTIONS }, sendOverOne));
  return statuses;
}

const megabytesOf = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1000;

test.if(isBinary)(
  "a million made-up requests add no metric series, and leak no memory",
  async () => {
    const METRICS_PORT = String(await freePort());
    const env = { METRICS_PORT, LOG_ACCESS: "off", TRUSTED_PROXIES: "127.0.0.1" };
    const server = await serve({ cwd: emptyFolder(), env });
    const series = async () =>
      (await (await fetch(`http://127.0.0.1:${METRICS_PORT}/metrics`)).text())
        .split("\n")
        // A job has its series from its first run.
        .filter((line) => line !== "" && !/^(#|bunker_job_)/.test(line)).length;
    await send(server, 0, WARM_UP);
    const before = { series: await series(), megabytes: megabytesOf(server.pid) };
    const statuses = await send(server, WARM_UP, WARM_UP + MADE_UP);
    expect(Object.fromEntries(statuses)).toEqual({ 401: MADE_UP / 2, 404: MADE_UP / 2 });
    const after = { series: await series(), megabytes: megabytesOf(server.pid) };
    process.stdout.write(
      `${MADE_UP} made up: before ${JSON.stringify(before)}, after ${JSON.stringify(after)}\n`,
    );
    expect(after.series).toBe(before.series);
    expect(after.megabytes - before.megabytes).toBeLessThan(GROWTH_MAX_MB);
    expect(await server.end("SIGTERM")).toBe(0);
  },
);
