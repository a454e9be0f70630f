/**
 * Many requests of many kinds, from users and from clients that send one request only: memory and
 * metrics do not grow. `SOAK=2000000 bun run chaos test/chaos/soak.test.ts` takes some ten minutes;
 * the default is short.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import {
  client,
  emptyFolder,
  freePort,
  isBinary,
  type Serving,
  serve,
} from "../support/program.ts";

const REQUESTS = Number(process.env["SOAK"] ?? 100_000);
const WARM_UP = 100_000;
const AT_ONCE = 32;
const PEOPLE = 50;
const SAMPLES = 40;
setDefaultTimeout(60_000 + REQUESTS * 5);
const PASSWORD = "correct horse battery staple";
/** The promised growth for each 100,000 requests, with a margin for garbage in a short run. */
const GROWTH_MAX_MB = 2;
const NOISE_MB = 30;

const megabytesOf = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1000;

/** An IP that no request had before. */
const addressOf = (at: number) => `10.${(at >> 16) & 255}.${(at >> 8) & 255}.${at & 255}`;

interface Session {
  access_token: string;
  refresh_token: string;
}

/** Sends a method that fetch would change. */
function askRaw(url: string, line: string): Promise<Response> {
  const { port } = new URL(url);
  const { promise, resolve, reject } = Promise.withResolvers<Response>();
  Bun.connect({
    hostname: "127.0.0.1",
    port: Number(port),
    socket: {
      open: (socket) =>
        void socket.write(`${line}\r\nhost: localhost\r\nconnection: close\r\n\r\n`),
      data: (socket, chunk) => {
        resolve(new Response(null, { status: Number(chunk.toString("latin1", 9, 12)) }));
        socket.end();
      },
      close: () => reject(new Error("no answer")),
      error: (_, error) => reject(error),
    },
  }).catch(reject);
  return promise;
}

/** Sends the nth request of a mixture and returns its status. Two of three have made-up values. */
async function ask({ url }: Serving, people: Session[], at: number): Promise<number> {
  const session = people[at % people.length] as Session;
  const signedIn = { authorization: `Bearer ${session.access_token}` };
  const unknownClient = { "x-forwarded-for": addressOf(at), "user-agent": `agent-${at}` };
  const post = (path: string, body: object) =>
    fetch(`${url}/api/v1${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...unknownClient },
      body: JSON.stringify(body),
    });
  const kinds = [
    () => fetch(`${url}/made-up/${at}?and=${at}`, { headers: unknownClient }),
    () =>
      fetch(`${url}/api/v1/users/me`, {
        headers: { authorization: `Bearer made.up.${at}`, ...unknownClient },
      }),
    () =>
      fetch(`${url}/api/v1/users/me`, { headers: { ...signedIn, traceparent: `hostile-${at}` } }),
    () => askRaw(url, `MADEUP${at} /livez HTTP/1.1`),
    () => post("/auth/password/forgot", { email: `nobody${at}@example.com` }),
    () => post("/auth/refresh", { refresh_token: `made-up-${at}` }),
    () => fetch(`${url}/version`, { headers: unknownClient }),
    () => fetch(`${url}/api/v1/users/me/sessions?limit=5`, { headers: signedIn }),
    () => post("/auth/register", { email: `not an address ${at}`, password: "short" }),
  ];
  const answer = await (kinds[at % kinds.length] as () => Promise<Response>)();
  await answer.arrayBuffer();
  return answer.status;
}

test.if(isBinary)(`${REQUESTS} mixed requests leak neither memory nor metric series`, async () => {
  const METRICS_PORT = String(await freePort());
  const server = await serve({
    cwd: emptyFolder(),
    env: {
      METRICS_PORT,
      ACCESS_TOKEN_EXPIRE_MINUTES: "1440",
      TRUSTED_PROXIES: "127.0.0.1",
      PASSWORD_HASH: "m=7168,t=5",
      LIMITS:
        "register=999999/60, login=999999/60, login-address=999999/60, sign-ins=999999/60, requests=9999999/60",
    },
  });
  const api = client(server.url);
  const people: Session[] = [];
  for (let at = 0; at < PEOPLE; at++) {
    const email = `person${at}@example.com`;
    await api.register(email, PASSWORD);
    const answer = await fetch(`${server.url}/api/v1/auth/login`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-forwarded-for": addressOf(at) },
      body: JSON.stringify({ username: email, password: PASSWORD }),
    });
    people.push((await answer.json()) as Session);
  }
  const statuses = new Map<number, number>();
  let next = 0;
  const askUntil = async (end: number) => {
    const one = async () => {
      while (next < end) {
        const status = await ask(server, people, next++);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
  };
  const series = async () =>
    (await (await fetch(`http://127.0.0.1:${METRICS_PORT}/metrics`)).text())
      .split("\n")
      .map((line) => line.split(" ")[0])
      // A job has its series from its first run.
      .filter((name) => name !== "" && !/^(#|bunker_job_)/.test(name ?? "")).length;

  await askUntil(WARM_UP);
  const seriesBefore = await series();
  const samples: number[] = [];
  for (let sample = 1; sample <= SAMPLES; sample++) {
    await askUntil(WARM_UP + Math.ceil((REQUESTS * sample) / SAMPLES));
    samples.push(megabytesOf(server.pid));
  }
  const third = Math.floor(SAMPLES / 3);
  const [before, after] = [
    Math.min(...samples.slice(0, third)),
    Math.min(...samples.slice(-third)),
  ];
  // From the middle of the first third to the middle of the last.
  const growth = ((after - before) / (REQUESTS * (2 / 3))) * 100_000;
  console.log(
    `${REQUESTS} requests: ${before.toFixed(0)} MB, then ${after.toFixed(0)} MB: ${growth.toFixed(2)} MB for each 100,000;`,
    `${await series()} series; answers`,
    Object.fromEntries(statuses),
  );
  expect(after - before).toBeLessThan(GROWTH_MAX_MB * ((REQUESTS * (2 / 3)) / 100_000) + NOISE_MB);
  // A few problem codes may occur for the first time.
  expect((await series()) - seriesBefore).toBeLessThan(20);
  // Each kind got the expected status.
  const kinds = { 200: 3, 202: 1, 400: 1, 401: 2, 404: 1, 422: 1 };
  expect([...statuses.keys()].toSorted().map(String)).toEqual(Object.keys(kinds));
  for (const [status, share] of Object.entries(kinds))
    expect(statuses.get(Number(status)) ?? 0).toBeWithin(
      (next / 9) * share - 9,
      (next / 9) * share + 9,
    );
  expect(await server.end("SIGTERM")).toBe(0);
});
