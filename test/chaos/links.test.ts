/** Mailed links on several instances if E2E_DATABASE_URL is set, otherwise on one. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { emptyFolder, rounds, type Serving, serve } from "../support/program.ts";
import { type MailServer, mailServer, SECRET_WORD, USER } from "../support/smtp.ts";

setDefaultTimeout(300_000);
const PASSWORD = "correct horse battery staple";
const AT_ONCE = 50;
const LINKS = 10 * rounds;

const home = process.env["E2E_DATABASE_URL"];
const name = `bunker_e2e_links_${process.pid}`;
const admin = home ? connect({ url: home, caFile: undefined }, { max: 1 }) : undefined;
let post: MailServer;
beforeAll(async () => {
  await admin?.unsafe(`create database ${name}`);
  post = await mailServer();
});
afterAll(async () => {
  await post.close();
  await admin?.unsafe(`drop database if exists ${name} with (force)`);
  await admin?.end();
});

async function open(): Promise<Serving[]> {
  const database = home
    ? { DATABASE_URL: Object.assign(new URL(home), { pathname: `/${name}` }).href }
    : {};
  const env = {
    ...database,
    SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    PUBLIC_URL: "https://accounts.example.com",
    BUNKER_ENV: "production",
    MAIL_URL: `smtp://${USER}:${encodeURIComponent(SECRET_WORD)}@localhost:${post.port}`,
    MAIL_CA_FILE: post.caFile,
    RATE_LIMIT: "off",
    LOG_LEVEL: "debug",
    EMAIL_SIGN_IN: "on",
    SIGN_IN_REDIRECT_URL: "https://app.example.com/in",
  };
  const cwd = emptyFolder();
  return Promise.all(Array.from({ length: home ? 4 : 1 }, () => serve({ env, cwd })));
}

const send = (url: string, path: string, body: object) =>
  fetch(`${url}/api/v1/auth/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
/** Quoted-printable text has soft line breaks. */
const plain = (source: string) => source.replaceAll(/=\r?\n/g, "").replaceAll("=3D", "=");
const tokensIn = () =>
  post.received.flatMap(({ source }) => /token=(ot_[\w-]{43})/.exec(plain(source))?.[1] ?? []);

test("of fifty concurrent uses of a link one succeeds, and no log has a link, a code or an email", async () => {
  const servers = await open();
  const urls = servers.map(({ url }) => url);
  const urlOf = (at: number) => urls[at % urls.length] ?? "";
  const people = Array.from({ length: LINKS }, (_, n) => `sentinel-${n}@example.com`);
  for (const [n, email] of people.entries())
    expect((await send(urlOf(n), "register", { email, password: PASSWORD })).status).toBe(201);
  for (let at = 0; at < 600 && tokensIn().length < LINKS; at += 1) await sleep(100);
  const tokens = tokensIn();
  expect(tokens).toHaveLength(LINKS);
  for (const token of tokens) {
    const answers = await Promise.all(
      Array.from({ length: AT_ONCE }, (_, n) => send(urlOf(n), "email/verify", { token })),
    );
    const statuses = answers.map(({ status }) => status);
    expect([
      statuses.filter((one) => one === 204).length,
      statuses.filter((one) => one === 400).length,
    ]).toEqual([1, AT_ONCE - 1]);
  }
  await send(urlOf(0), "email-code", { email: people[0] ?? "" });
  for (let at = 0; at < 100 && post.received.length === LINKS; at += 1) await sleep(100);
  const code = /^(\d{6})\r?$/m.exec(post.received.at(-1)?.source ?? "")?.[1] ?? "";
  for (const wrong of ["000001", code, code])
    await send(urlOf(1), "email-code/verify", { email: people[0] ?? "", code: wrong });
  post.refuse(451);
  await send(urlOf(2), "password/forgot", { email: people[1] ?? "" });
  await sleep(2_500);
  post.refuse(undefined);
  for (const one of servers) await one.end("SIGTERM");
  const said = servers.map(({ said: { out, err } }) => out + err).join("\n");
  expect(code).toMatch(/^\d{6}$/);
  for (const secret of [
    ...tokensIn().map((token) => token.slice(3)),
    PASSWORD,
    SECRET_WORD,
    "sentinel-",
  ])
    expect(said).not.toContain(secret);
  expect(said).not.toMatch(new RegExp(`\\b${code}\\b`));
  console.log(
    `${LINKS} links over ${urls.length} instances, ${AT_ONCE} at once each: one success each`,
  );
});
