/** Mails between the binary and a real mail server. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { command, rounds, serve, usedFolder } from "../support/program.ts";
import { type MailServer, mailServer, SECRET_WORD, USER } from "../support/smtp.ts";

setDefaultTimeout(180_000);
/** 200 in a minute in CI, fewer during development. */
const PEOPLE = 10 * rounds;
const AWAY_MS = rounds < 20 ? 0 : 60_000;
const PASSWORD = "correct horse battery staple";
let post: MailServer;
beforeAll(async () => {
  post = await mailServer();
});
afterAll(() => post.close());

const env = () => ({
  BUNKER_ENV: "production",
  PUBLIC_URL: "https://accounts.example.com",
  MAIL_URL: `smtp://${USER}:${encodeURIComponent(SECRET_WORD)}@localhost:${post.port}`,
  MAIL_CA_FILE: post.caFile,
  RATE_LIMIT: "off",
});
const register = (url: string, email: string) =>
  fetch(`${url}/api/v1/auth/register`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email, password: PASSWORD }),
  });
const recipients = () => post.received.map(({ to }) => to[0] ?? "");
const until = async (isSo: () => boolean) => {
  for (let at = 0; at < 1_200 && !isSo(); at += 1) await sleep(100);
  expect(isSo()).toBe(true);
};

test("during an outage of the mail server no request waits, and afterward each mail arrives once", async () => {
  const { url } = await serve({ env: env(), cwd: await usedFolder() });
  await post.down();
  const backAt = Date.now() + AWAY_MS;
  const times: number[] = [];
  const people = Array.from({ length: PEOPLE }, (_, n) => `away-${n}@example.com`);
  for (const email of people) {
    const from = performance.now();
    expect((await register(url, email)).status).toBe(201);
    times.push(performance.now() - from);
  }
  await sleep(Math.max(0, backAt - Date.now()));
  await post.up();
  await until(() => new Set(recipients()).size >= people.length);
  await sleep(3_000);
  expect(recipients().toSorted()).toEqual(people.toSorted());
  const slowest = Math.max(...times).toFixed(0);
  console.log(
    `${PEOPLE} registrations, the mail server away for ${AWAY_MS / 1_000} s or as long as they take: ${slowest} ms at most, all mails once`,
  );
});

test("a mail server that accepts connections and stays silent delays no request", async () => {
  const silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  const settings = { ...env(), MAIL_URL: `smtp://localhost:${silent.port}` };
  const { url, end } = await serve({ env: settings, cwd: await usedFolder() });
  for (let at = 0; at < PEOPLE; at += 1)
    expect((await register(url, `silent-${at}@example.com`)).status).toBe(201);
  expect(await end("SIGTERM")).toBe(0);
  silent.stop(true);
});

test("a kill between queuing and sending loses no mail", async () => {
  const cwd = await usedFolder();
  for (let round = 0; round < rounds; round += 1) {
    const email = `killed-${round}@example.com`;
    const first = await serve({ env: env(), cwd });
    expect((await register(first.url, email)).status).toBe(201);
    await first.end("SIGKILL");
    const second = await serve({ env: env(), cwd });
    // A mail that the killed process had claimed is retried when the lease ends.
    if (!recipients().includes(email)) await until(() => recipients().includes(email));
    await second.end("SIGTERM");
  }
  const ids = post.received.map(({ source }) => /Message-ID: <([^>]+)>/.exec(source)?.[1]);
  expect(new Set(recipients()).size).toBe(new Set(ids).size);
});

test("mail test prints the reply of the mail server, or that there is none", async () => {
  const cwd = await usedFolder();
  const good = await command(["mail", "test", "you@example.com"], { env: env(), cwd });
  expect([good.code, good.out]).toEqual([0, expect.stringContaining("250")]);
  expect(recipients()).toContain("you@example.com");
  post.refuse(550);
  const refused = await command(["mail", "test", "you@example.com"], { env: env(), cwd });
  expect([refused.code, refused.err]).toEqual([1, expect.stringContaining("550")]);
  post.refuse(undefined);
  const wrong = { ...env(), MAIL_URL: `smtp://${USER}:wrong@localhost:${post.port}` };
  const unknown = await command(["mail", "test", "you@example.com"], { env: wrong, cwd });
  expect([unknown.code, unknown.err]).toEqual([69, expect.not.stringContaining("wrong")]);
  const none = await command(["mail", "test", "you@example.com"], {
    env: { BUNKER_ENV: "production" },
    cwd,
  });
  expect([none.code, none.err]).toEqual([78, expect.stringContaining("MAIL_URL is not set")]);
  const list = await command(["mail", "list", "--json"], { env: env(), cwd });
  expect(JSON.parse(list.out)).toEqual([]);
});
