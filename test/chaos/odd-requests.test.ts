/**
 * Two instances behind each proxy: whatever one client sends, another client's requests succeed.
 */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { connect as dial } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { sendOddRequests } from "../support/odd-requests.ts";
import { client, emptyFolder, freePort, linesOf, type Serving, serve } from "../support/program.ts";
import { haproxyWith, pathOf, proxies, startProxy } from "../support/proxies.ts";

setDefaultTimeout(300_000);
const PASSWORD = "correct horse battery staple";
const ODD_REQUESTS = 10_000;
const SEED = 20_261_128;
const VICTIM_EVERY_MS = 20;

const home = process.env["E2E_DATABASE_URL"];

describe.if(home !== undefined)("ten thousand odd requests", () => {
  const admin = connect({ url: home ?? "postgres://none", caFile: undefined }, { max: 1 });
  const name = `bunker_e2e_odd_${process.pid}`;
  afterAll(async () => {
    await admin.unsafe(`drop database if exists ${name} with (force)`);
    await admin.end();
  });

  async function startInstances(): Promise<{ servers: Serving[]; ports: number[] }> {
    await admin.unsafe(`drop database if exists ${name} with (force)`);
    await admin.unsafe(`create database ${name}`);
    const ports = [await freePort(), await freePort()];
    const env = {
      DATABASE_URL: Object.assign(new URL(home ?? ""), { pathname: `/${name}` }).href,
      SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
      PUBLIC_URL: "https://accounts.example.com",
      TRUSTED_PROXIES: "127.0.0.1",
      RATE_LIMIT: "off",
      LOG_ACCESS: "off",
    };
    const servers: Serving[] = [];
    for (const port of ports)
      servers.push(await serve({ cwd: emptyFolder(), env: { ...env, PORT: String(port) } }));
    return { servers, ports };
  }

  for (const proxy of Object.keys(proxies))
    test.if(pathOf(proxy) !== undefined)(
      `behind ${proxy} fail no request of another client`,
      async () => {
        const { servers, ports } = await startInstances();
        const outside = await startProxy(proxy, ports);
        const victim = await startVictim(`http://127.0.0.1:${outside}`);
        const statuses = await sendOddRequests(outside, { count: ODD_REQUESTS, seed: SEED });
        const { sent, failures } = await victim.end();
        expect(failures).toEqual([]);
        expect(sent).toBeGreaterThan(100);
        // The generator works: it makes valid requests, and refusals of each kind.
        for (const status of ["200", "400", "404", "405", "413"])
          expect(statuses[status]).toBeGreaterThan(0);
        await endWithoutErrors(servers);
      },
    );

  test.if(pathOf("haproxy") !== undefined)(
    "behind haproxy with shared connections, no client gets Bun's response to the trailers of another",
    async () => {
      const { servers, ports } = await startInstances();
      const isShared = haproxyWith([[/^backend bunker$/m, "backend bunker\n  http-reuse always"]]);
      const outside = await startProxy("haproxy", ports, isShared);
      const statuses = new Set<string>();
      const senders = Array.from({ length: 8 }, async () => {
        for (let sent = 0; sent < 200; sent += 1) await sendTrailers(outside);
      });
      let isOver = false;
      const victims = Array.from({ length: 16 }, async () => {
        while (!isOver) statuses.add(await statusOfLivez(outside));
      });
      await Promise.all(senders);
      isOver = true;
      await Promise.all(victims);
      expect([...statuses]).toEqual(["200"]);
      await endWithoutErrors(servers);
    },
  );
});

async function endWithoutErrors(servers: Serving[]): Promise<void> {
  for (const { said, end } of servers) {
    expect(linesOf(said.err).filter(({ level }) => level === "error")).toEqual([]);
    expect(await end("SIGTERM")).toBe(0);
  }
}

/** Sends a request on its own connection. */
const statusOfLivez = (port: number) =>
  new Promise<string>((done) => {
    let said = "";
    const head = "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    const socket = dial(port, "127.0.0.1", () => socket.write(head));
    socket.on("data", (chunk) => {
      said += chunk.toString("latin1");
    });
    socket.on("error", () => {}).on("close", () => done(said.slice(9, 12)));
  });

/** A valid request with valid trailers. After its response, Bun sends a 400 for the trailers. */
const sendTrailers = (port: number) =>
  new Promise<void>((done) => {
    const head = "POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    const socket = dial(port, "127.0.0.1", async () => {
      socket.write(`${head}2\r\n{}\r\n`);
      await sleep(5);
      socket.write("0\r\nX-T: 1\r\n\r\n");
      await sleep(20);
      socket.destroy();
    });
    socket.on("error", () => {}).on("close", () => done());
  });

/** A user who reads and writes continuously. */
async function startVictim(url: string) {
  const api = client(url);
  await api.register("ada@example.com", PASSWORD);
  const token = await api.logIn("ada@example.com", PASSWORD);
  const json = { "content-type": "application/json", connection: "close" };
  const requests = [
    () => fetch(`${url}/livez`, { headers: { connection: "close" } }),
    () => fetch(`${url}/api/v1/users/me`, { headers: { authorization: `Bearer ${token}` } }),
    () =>
      fetch(`${url}/api/v1/auth/password/forgot`, {
        method: "POST",
        headers: json,
        body: JSON.stringify({ email: "eve@example.com" }),
      }),
  ];
  const failures: unknown[] = [];
  let [sent, isOver] = [0, false];
  const ask = async () => {
    while (!isOver) {
      const request = requests[sent % requests.length];
      sent += 1;
      try {
        const answer = await request?.();
        await answer?.text();
        if (!answer?.ok) failures.push([sent % requests.length, answer?.status]);
      } catch (error) {
        failures.push(String(error));
      }
      await sleep(VICTIM_EVERY_MS);
    }
  };
  const asking = [ask(), ask()];
  const end = async () => {
    isOver = true;
    await Promise.all(asking);
    return { sent, failures };
  };
  return { end };
}
