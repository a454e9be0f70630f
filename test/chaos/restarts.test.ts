import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { client, emptyFolder, freePort, rounds, type Serving, serve } from "../support/program.ts";
import { haproxyWith, pathOf, startProxy } from "../support/proxies.ts";

setDefaultTimeout(120_000);
const PASSWORD = "correct horse battery staple";

const readiness = async ({ url }: Serving) => {
  const answer = await fetch(`${url}/readyz`);
  return { status: answer.status, body: await answer.json() };
};

/** fetch does not report this header. */
const connectionHeader = ({ url }: Serving): Promise<string | undefined> =>
  new Promise((resolve) =>
    get(`${url}/livez`, (answer) => resolve(answer.resume().headers.connection)),
  );

async function untilStopping(server: Serving) {
  while (true) {
    const found = await readiness(server);
    if (found.status !== 200) return found;
    await sleep(5);
  }
}

test("during SHUTDOWN_DELAY_SECONDS a stopping server reports it, keeps serving, and then exits with 0", async () => {
  const env = { SHUTDOWN_DELAY_SECONDS: "2" };
  const server = await serve({ cwd: emptyFolder(), env });
  const ending = server.end("SIGTERM");
  const { body } = await untilStopping(server);
  expect(body).toMatchObject({ status: "failed", server: "stopping", database: "ok" });
  expect(await connectionHeader(server)).toBe("close");
  expect((await fetch(`${server.url}/livez`)).status).toBe(200);
  const api = client(server.url);
  expect((await api.register("ada@example.com", PASSWORD)).status).toBe(201);
  expect(await ending).toBe(0);
});

test("requests in flight get responses before the database is closed", async () => {
  const server = await serve({ cwd: emptyFolder() });
  const api = client(server.url);
  const names = Array.from({ length: 12 }, (_, at) => `person${at}@example.com`);
  const answers = names.map(async (name) => (await api.register(name, PASSWORD)).status);
  await sleep(20);
  expect(await server.end("SIGTERM")).toBe(0);
  expect(await Promise.all(answers)).toEqual(names.map(() => 201));
});

test("a second signal ends the server at once", async () => {
  const server = await serve({ cwd: emptyFolder(), env: { SHUTDOWN_DELAY_SECONDS: "300" } });
  const ending = server.end("SIGTERM");
  await untilStopping(server);
  process.kill(server.pid, "SIGTERM");
  expect(await ending).toBe(null);
});

const home = process.env["E2E_DATABASE_URL"];
const REQUESTS_A_SECOND = 200;

interface Proxy {
  name: string;
  argumentsOf?: ReturnType<typeof haproxyWith>;
  sends: "reads" | "reads and writes";
}
const proxies: Proxy[] = [
  {
    name: "haproxy",
    // Without retries, which would hide failures.
    argumentsOf: haproxyWith([
      ["option redispatch 1", "retries 0"],
      [/ inter 1s/g, " inter 300ms"],
    ]),
    sends: "reads and writes",
  },
  // nginx has no health checks: it notices by a request, and retries only reads.
  { name: "nginx", sends: "reads" },
];

describe.if(home !== undefined)("two instances", () => {
  const admin = connect({ url: home ?? "postgres://none", caFile: undefined }, { max: 1 });
  const name = `bunker_e2e_restarts_${process.pid}`;
  afterAll(async () => {
    await admin.unsafe(`drop database if exists ${name} with (force)`);
    await admin.end();
  });

  for (const { name: proxy, argumentsOf, sends } of proxies)
    test.if(pathOf(proxy) !== undefined)(
      `behind ${proxy} are restarted in turn, and none of ${REQUESTS_A_SECOND} ${sends} a second fails`,
      async () => {
        await admin.unsafe(`drop database if exists ${name} with (force)`);
        await admin.unsafe(`create database ${name}`);
        const ports = [await freePort(), await freePort()];
        const start = (port: number) =>
          serve({
            cwd: emptyFolder(),
            env: {
              PORT: String(port),
              DATABASE_URL: Object.assign(new URL(home ?? ""), { pathname: `/${name}` }).href,
              SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
              PUBLIC_URL: "https://accounts.example.com",
              SHUTDOWN_DELAY_SECONDS: "2",
              LOG_ACCESS: "off",
              RATE_LIMIT: "off",
            },
          });
        const servers = [await start(ports[0] ?? 0), await start(ports[1] ?? 0)];
        const url = `http://127.0.0.1:${await startProxy(proxy, ports, argumentsOf)}`;
        await client(url).register("ada@example.com", PASSWORD);
        const token = await client(url).logIn("ada@example.com", PASSWORD);
        const load = startLoad(url, { token, sends });
        const from = performance.now();
        for (let round = 0; round < Math.min(rounds, 10); round += 1) {
          const at = round % 2;
          expect(await servers[at]?.end("SIGTERM")).toBe(0);
          servers[at] = await start(ports[at] ?? 0);
          // Until the proxy has noticed that it is back.
          await sleep(1_500);
        }
        const { sent, failures } = await load.end();
        expect(failures).toEqual([]);
        const seconds = (performance.now() - from) / 1000;
        expect(sent / seconds).toBeGreaterThan(0.8 * REQUESTS_A_SECOND);
        for (const server of servers) await server.end("SIGTERM");
      },
    );
});

/** Reads at a steady rate. With writes, every fiftieth request is a registration. */
function startLoad(url: string, { token, sends }: { token: string } & Pick<Proxy, "sends">) {
  const failures: unknown[] = [];
  const underWay = new Set<Promise<void>>();
  const api = client(url);
  let sent = 0;
  const ask = async () => {
    sent += 1;
    const isWrite = sends === "reads and writes" && sent % 50 === 0;
    try {
      const answer = isWrite
        ? await api.register(`person${sent}@example.com`, PASSWORD)
        : await api.get("/users/me", token);
      const text = await answer.text();
      if (!answer.ok) failures.push({ status: answer.status, text });
    } catch (error) {
      failures.push(String(error));
    }
  };
  const timer = setInterval(() => {
    const asking = ask();
    underWay.add(asking);
    void asking.finally(() => underWay.delete(asking));
  }, 1000 / REQUESTS_A_SECOND);
  const end = async () => {
    clearInterval(timer);
    await Promise.all(underWay);
    return { sent, failures };
  };
  return { end };
}
