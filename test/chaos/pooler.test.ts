/** Behind PgBouncer of Debian in transaction mode. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { connect as dial } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, openDatabase } from "../../src/db/db.ts";
import { brokers } from "../support/brokers.ts";
import { client, emptyFolder, freePort, serve } from "../support/program.ts";

setDefaultTimeout(60_000);
const PASSWORD = "correct horse battery staple";
const home = process.env["E2E_DATABASE_URL"];
const pgbouncer = ["/usr/sbin/pgbouncer", Bun.which("pgbouncer") ?? ""].find((path) =>
  Bun.which(path),
);
const name = `bunker_e2e_pooler_${process.pid}`;
const admin = home ? connect({ url: home, caFile: undefined }, { max: 1 }) : undefined;
const nats = brokers.find((broker) => broker.name === "NATS");
let pooler: ChildProcess | undefined;

afterAll(async () => {
  pooler?.kill("SIGKILL");
  await admin?.unsafe(`drop database if exists ${name} with (force)`);
  await admin?.end();
});

/** Three connections for all clients, so that statements of one client reach another's session. */
async function startPooler(target: URL): Promise<number> {
  const [port, folder] = [await freePort(), emptyFolder()];
  const file = join(folder, "pgbouncer.ini");
  const password = target.password ? ` password='${target.password}'` : "";
  const server = `host=${target.hostname} port=${target.port || 5432} user=${target.username}${password}`;
  writeFileSync(
    file,
    `[databases]
${name} = ${server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
auth_type = any
pool_mode = transaction
default_pool_size = 3
unix_socket_dir =
`,
  );
  chmodSync(file, 0o644);
  // PgBouncer refuses to run as root.
  const account = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  pooler = spawn(pgbouncer ?? "", [file], { stdio: "ignore", ...account });
  while (!(await isListening(port))) await sleep(20);
  return port;
}

const isListening = (port: number) =>
  new Promise<boolean>((done) => {
    const socket = dial(port, "127.0.0.1", () => {
      socket.destroy();
      done(true);
    });
    socket.on("error", () => done(false));
  });

describe.if(home !== undefined && pgbouncer !== undefined)("through PgBouncer", () => {
  let direct: URL;
  let pooled: URL;

  beforeAll(async () => {
    await admin?.unsafe(`create database ${name}`);
    direct = Object.assign(new URL(home ?? ""), { pathname: `/${name}` });
    pooled = Object.assign(new URL(direct), { port: String(await startPooler(direct)) });
  });

  test("consecutive statements with and without parameters all get responses", async () => {
    const database = openDatabase({
      place: { url: pooled.href, caFile: undefined, isPooled: true },
      poolSize: 1,
      connectTimeoutSeconds: 5,
      statementTimeoutSeconds: 5,
    });
    const { sql } = database;
    for (let round = 0; round < 50; round += 1) {
      const answers = await Promise.all([sql`select 1 as it`, sql`select ${2}::int as it`]);
      expect(answers.map(([row]) => row?.["it"])).toEqual([1, 2]);
    }
    await database.close();
  });

  const settings = () => ({
    DATABASE_URL: pooled.href,
    DATABASE_DIRECT_URL: direct.href,
    DATABASE_PREPARE: "off",
    SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    PUBLIC_URL: "https://accounts.example.com",
    LOG_ACCESS: "off",
  });

  test("many users sign in and read at once, and changes of a user take effect within a second", async () => {
    const server = await serve({ cwd: emptyFolder(), env: settings() });
    const api = client(server.url);
    const emails = Array.from({ length: 15 }, (_, at) => `person${at}@example.com`);
    const registered = await Promise.all(emails.map((email) => api.register(email, PASSWORD)));
    expect(new Set(registered.map(({ status }) => status))).toEqual(new Set([201]));
    const tokens = await Promise.all(emails.map((email) => api.logIn(email, PASSWORD)));
    for (let round = 0; round < 20; round += 1) {
      const answers = await Promise.all(tokens.map((token) => api.get("/users/me", token)));
      const seen = await Promise.all(
        answers.map((one) => one.json() as Promise<{ email?: string; code?: string }>),
      );
      expect(seen.map(({ email, code }) => email ?? code)).toEqual(emails);
      await sleep(50);
    }
    // By hand and on a direct connection: only a notification can report it.
    const [first = ""] = tokens;
    const here = connect({ url: direct.href, caFile: undefined }, { max: 1 });
    await here`update users set is_active = false where email = ${emails[0] ?? ""}`;
    await here.end();
    await sleep(1_000);
    expect((await api.get("/users/me", first)).status).toBe(401);
    expect(server.said.err).not.toContain("do not arrive");
    expect(await server.end("SIGTERM")).toBe(0);
  });

  nats?.needs.test(
    "another instance publishes to the message queue when the first one is killed",
    async () => {
      const queue = await nats.open();
      const here = connect({ url: direct.href, caFile: undefined }, { max: 1 });
      const env = { ...settings(), BROKER_URL: queue.urlOf(queue.port) };
      const first = await serve({ cwd: emptyFolder(), env });
      const second = await serve({ cwd: emptyFolder(), env });
      const publishes = async (email: string) => {
        await client(second.url).register(email, PASSWORD);
        const [event] = await here`select id from events order by position desc limit 1`;
        const giveUpAt = performance.now() + 20_000;
        while (!(await queue.received()).some(({ id }) => id === event?.["id"])) {
          if (performance.now() > giveUpAt) throw new Error(`no event about ${email}`);
          await sleep(50);
        }
      };
      await publishes("first@example.com");
      await first.end("SIGKILL");
      await publishes("second@example.com");
      await here.end();
      expect(await second.end("SIGTERM")).toBe(0);
      await queue.kill();
    },
  );
});
