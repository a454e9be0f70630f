/** SIGHUP: a server applies the settings that its files have now, and no client notices. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { client, command, emptyFolder, freePort, type Serving, serve } from "../support/program.ts";
import { mailServer, SECRET_WORD, USER } from "../support/smtp.ts";

setDefaultTimeout(120_000);
const PASSWORD = "correct horse battery staple";
const newSecret = () => Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex");

const READ = "Settings reloaded.";
/** Sends SIGHUP, and waits until each process has logged the result. */
async function reload(server: Serving, sentence = READ, processes = 1) {
  const said = () => server.said.err.split(sentence).length - 1;
  const before = said();
  process.kill(server.pid, "SIGHUP");
  while (said() < before + processes) await sleep(10);
}

/**
 * Reads and registers on kept connections until it is stopped. Returns the number of responses of
 * each status.
 */
function asking(server: Serving, token: string) {
  const { get, register } = client(server.url);
  const statuses: Record<number, number> = {};
  let isOver = false;
  const one = async (ask: (at: number) => Promise<{ status: number }>) => {
    for (let at = 0; !isOver; at++) {
      const { status } = await ask(at).catch(() => ({ status: 0 }));
      statuses[status] = (statuses[status] ?? 0) + 1;
      await sleep(2);
    }
  };
  const reading = () => one(() => get("/users/me", token));
  const writing = (_: unknown, who: number) =>
    one((at) => register(`${who}-${at}@example.com`, PASSWORD));
  const all = Promise.all([
    ...Array.from({ length: 6 }, reading),
    ...Array.from({ length: 2 }, writing),
  ]);
  return async () => {
    isOver = true;
    await all;
    return statuses;
  };
}

for (const workers of [1, 2])
  test(`changing the secret key under load signs no user out, with ${workers}`, async () => {
    const cwd = emptyFolder();
    const [secret, secrets] = [join(cwd, "secret"), join(cwd, "secrets")];
    const [first, second] = [newSecret(), newSecret()];
    writeFileSync(secret, first);
    writeFileSync(secrets, second);
    const METRICS_PORT = String(await freePort());
    const server = await serve({
      cwd,
      env: {
        SECRET_KEY_FILE: secret,
        SECRET_KEYS_FILE: secrets,
        WORKERS: String(workers),
        LOG_ACCESS: "off",
        METRICS_PORT,
        RATE_LIMIT: "off",
        PASSWORD_HASH: "m=7168,t=5",
      },
    });
    while (!server.said.out.includes("Try")) await sleep(10);
    const api = client(server.url);
    await api.register("ada@example.com", PASSWORD);
    const old = await api.logIn("ada@example.com", PASSWORD);
    const ended = asking(server, old);
    await sleep(200);
    writeFileSync(secret, second);
    writeFileSync(secrets, first);
    await reload(server, READ, workers);
    const fresh = await api.logIn("ada@example.com", PASSWORD);
    for (let round = 0; round < 5; round++) await reload(server, READ, workers);
    const statuses = await ended();
    expect(Object.keys(statuses)).toEqual(["200", "201"]);
    // Each is counted once, also Ada's registration.
    const metricsText = await (await fetch(`http://127.0.0.1:${METRICS_PORT}/metrics`)).text();
    const [, counted] =
      /_count\{[^}]*"\/api\/v1\/auth\/register"[^}]*"201"\} (\d+)/.exec(metricsText) ?? [];
    expect(Number(counted)).toBe((statuses[201] ?? 0) + 1);
    // Without the old one, its tokens are refused, and those of the new one are valid.
    writeFileSync(secrets, newSecret());
    await reload(server, READ, workers);
    expect((await api.get("/users/me", old)).status).toBe(401);
    expect((await api.get("/users/me", fresh)).status).toBe(200);
    expect(await server.end("SIGTERM")).toBe(0);
  });

test("the log level and the metrics token change; invalid settings change nothing", async () => {
  const cwd = emptyFolder();
  const [level, token] = [join(cwd, "level"), join(cwd, "token")];
  const [first, second] = [newSecret(), newSecret()];
  writeFileSync(level, "error\n");
  writeFileSync(token, first);
  const server = await serve({ cwd, env: { LOG_LEVEL_FILE: level, METRICS_TOKEN_FILE: token } });
  const metricsText = async (secret: string) => {
    const headers = { authorization: `Bearer ${secret}` };
    const answer = await fetch(`${server.url}/metrics`, { headers });
    return { status: answer.status, text: await answer.text() };
  };
  for (let round = 0; round < 3; round++) await fetch(`${server.url}/version`);
  expect((await metricsText(first)).status).toBe(200);
  expect(server.said.err).not.toContain("Request completed.");

  writeFileSync(level, "info");
  writeFileSync(token, second);
  await reload(server);
  expect((await metricsText(first)).status).toBe(401);
  // The earlier counts remain.
  expect((await metricsText(second)).text).toMatch(/_count\{[^}]*"\/version"[^}]*\} 3\n/);
  while (!server.said.err.includes("Request completed.")) await sleep(10);

  writeFileSync(token, "change-me-change-me-change-me-change-me");
  await reload(server, "Reload failed");
  expect(server.said.err).toContain("METRICS_TOKEN is a well-known example");
  expect(server.said.err).not.toContain("change-me");
  expect((await metricsText(second)).status).toBe(200);
  expect(await server.end("SIGTERM")).toBe(0);
});

for (const way of ["SIGHUP", "SIGTERM"] as const)
  test(`a mail that a server is about to claim is not sent twice after ${way}`, async () => {
    const mailReceiver = await mailServer();
    // Longer than closing a connection takes.
    mailReceiver.ponder(7_000);
    const cwd = emptyFolder();
    const env = {
      PUBLIC_URL: "https://accounts.example.com",
      MAIL_URL: `smtp://${USER}:${encodeURIComponent(SECRET_WORD)}@localhost:${mailReceiver.port}?tls=required`,
      MAIL_CA_FILE: mailReceiver.caFile,
      PORT: String(await freePort()),
    };
    const server = await serve({ cwd, env });
    const states = async () => {
      const { out } = await command(["mail", "list", "--json"], { cwd, env });
      return (JSON.parse(out) as { state: string }[]).map(({ state }) => state);
    };
    await client(server.url).register("ada@example.com", PASSWORD);
    while (mailReceiver.received.length === 0) await sleep(50);
    if (way === "SIGTERM") expect(await server.end("SIGTERM")).toBe(0);
    else await reload(server);
    const giveUpAt = performance.now() + 10_000;
    while (performance.now() < giveUpAt && (await states())[0] !== "sent") await sleep(200);
    expect(await states()).toEqual(["sent"]);
    if (way === "SIGHUP") expect(await server.end("SIGTERM")).toBe(0);
    expect(mailReceiver.received).toHaveLength(1);
    await mailReceiver.close();
  });

const home = process.env["E2E_DATABASE_URL"];
test.if(home !== undefined)("another DATABASE_URL connects to another database", async () => {
  const admin = connect({ url: home ?? "", caFile: undefined }, { max: 1 });
  const names = ["first", "second"].map((one) => `bunker_e2e_reload_${one}_${process.pid}`);
  const urlOf = (name = "") => Object.assign(new URL(home ?? ""), { pathname: `/${name}` }).href;
  try {
    for (const name of names) await admin.unsafe(`create database ${name}`);
    const cwd = emptyFolder();
    const url = join(cwd, "database");
    writeFileSync(url, urlOf(names[0]));
    const server = await serve({
      cwd,
      env: {
        DATABASE_URL_FILE: url,
        SECRET_KEY: newSecret(),
        PUBLIC_URL: "https://accounts.example.com",
      },
    });
    const api = client(server.url);
    expect((await api.register("ada@example.com", PASSWORD)).status).toBe(201);
    const token = await api.logIn("ada@example.com", PASSWORD);
    writeFileSync(url, urlOf(names[1]));
    await reload(server);
    // It has the schema and no users.
    expect((await api.get("/users/me", token)).status).toBe(401);
    expect((await api.register("ada@example.com", PASSWORD)).status).toBe(201);
    writeFileSync(url, "postgres://nobody@127.0.0.1:9/none");
    await reload(server, "Reload failed");
    expect(await api.logIn("ada@example.com", PASSWORD)).toContain(".");
    writeFileSync(url, urlOf(names[0]));
    await reload(server);
    expect((await api.get("/users/me", token)).status).toBe(200);
    // No connection to the earlier one remains.
    const held = async () => {
      const name = names[1] ?? "";
      const [row] =
        await admin`select count(*)::int as n from pg_stat_activity where datname = ${name}`;
      return row?.["n"];
    };
    while ((await held()) !== 0) await sleep(20);
    expect(await server.end("SIGTERM")).toBe(0);
  } finally {
    for (const name of names) await admin.unsafe(`drop database if exists ${name} with (force)`);
    await admin.end();
  }
});

test("a hundred reloads leak neither memory nor files", async () => {
  const cwd = emptyFolder();
  const server = await serve({ cwd, env: { METRICS_PORT: String(await freePort()) } });
  const look = () => {
    const status = readFileSync(`/proc/${server.pid}/status`, "utf8");
    return {
      files: readdirSync(`/proc/${server.pid}/fd`).length,
      megabytes: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024,
    };
  };
  /**
   * The lowest of several samples: memory that garbage collection is about to free is not a leak.
   */
  const held = async () => {
    const looks = [];
    for (let at = 0; at < 10; at++) {
      await sleep(200);
      looks.push(look());
    }
    return looks.toSorted((a, b) => a.megabytes - b.megabytes)[0] ?? look();
  };
  for (let round = 0; round < 30; round++) await reload(server);
  const before = await held();
  // Garbage collection changes it by some 20 MB. A leaked pool or app each time would add hundreds.
  const isAsBefore = ({ files, megabytes }: typeof before) =>
    files < before.files + 5 && megabytes < before.megabytes + 40;
  let after = before;
  // A leak grows each time; uncollected garbage does not.
  for (let tries = 0; tries < 4; tries++) {
    for (let round = 0; round < 70; round++) await reload(server);
    after = await held();
    if (isAsBefore(after)) break;
  }
  expect([before, after, isAsBefore(after)]).toEqual([before, after, true]);
  expect(await server.end("SIGTERM")).toBe(0);
});
