/**
 * A thousand honest clients refresh over bad networks, on two instances and the PostgreSQL server
 * of E2E_DATABASE_URL: none is signed out. The test measures and prints how many clients lose their
 * session that keep no device token and change their network.
 */
import {
  afterAll,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { emptyFolder, serve } from "../support/program.ts";
import {
  anyIp,
  each,
  type RefreshingClient,
  refresh,
  refreshInTabs,
  type Trouble,
} from "../support/refreshing-clients.ts";

setDefaultTimeout(600_000);
const PASSWORD = "correct horse battery staple";
const SESSIONS_OF_ONE = 100;
const TOGETHER = 24;
const bad: Trouble = { lostRequest: 0.1, lostAnswer: 0.1, duplicate: 0.1, move: 0 };
const home = process.env["E2E_DATABASE_URL"];
const name = `bunker_e2e_refreshing_${process.pid}`;
const admin = home ? connect({ url: home, caFile: undefined }, { max: 1 }) : undefined;
const url = home ? Object.assign(new URL(home), { pathname: `/${name}` }).href : "";
const env = {
  DATABASE_URL: url,
  SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
  PUBLIC_URL: "https://accounts.example.com",
  BUNKER_ENV: "production",
  TRUSTED_PROXIES: "127.0.0.1",
  RATE_LIMIT: "off",
  // A machine that is too slow for ten seconds is not a bad network.
  REFRESH_GRACE_SECONDS: "300",
  // A sign-in that got 503 may have started a session.
  SESSIONS_PER_ACCOUNT: "200",
};

const signedOut = (clients: RefreshingClient[]) =>
  clients.filter(({ isSignedOut }) => isSignedOut).length;

describe.if(home !== undefined)("on two instances", () => {
  let urls: string[] = [];
  let users = 0;
  beforeAll(async () => void (await admin?.unsafe(`create database ${name}`)));
  beforeEach(async () => {
    const servers = await Promise.all([1, 2].map(() => serve({ env, cwd: emptyFolder() })));
    urls = servers.map((server) => server.url);
  });
  afterAll(async () => {
    await admin?.unsafe(`drop database if exists ${name} with (force)`);
    await admin?.end();
  });

  const post = async (path: string, body: object, from: Partial<RefreshingClient> = {}) => {
    for (;;) {
      const answer = await fetch(`${urls[0]}/api/v1/auth/${path}`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "x-forwarded-for": from.ip ?? "192.0.2.1",
          "user-agent": from.agent ?? "test",
        },
        body: JSON.stringify(body),
      });
      if (answer.status !== 503) return answer;
      await sleep(500);
    }
  };

  /** Signs in that many clients, a hundred for each user. */
  const signIn = async (count: number, keepsDevice: boolean): Promise<RefreshingClient[]> => {
    const clients: RefreshingClient[] = [];
    const names: string[] = [];
    for (let at = 0; at < count; at += SESSIONS_OF_ONE) {
      users += 1;
      names.push(`user-${users}`);
      const email = `user-${users}@example.com`;
      await post("register", { email, username: `user-${users}`, password: PASSWORD });
    }
    const numbers = Array.from({ length: count }, (_, at) => at);
    await each(numbers, 4, async (at) => {
      const from = { agent: `Client/${at}`, ip: anyIp() };
      const username = names[Math.floor(at / SESSIONS_OF_ONE)] ?? "";
      const answer = await post("login", { username, password: PASSWORD }, from);
      const { refresh_token: refreshToken } = (await answer.json()) as { refresh_token: string };
      const device = keepsDevice ? (answer.headers.get("device-token") ?? undefined) : undefined;
      clients.push({ ...from, device, refreshToken, isSignedOut: false });
    });
    return clients;
  };

  const counts = async () => {
    const sql = connect({ url, caFile: undefined }, { max: 1 });
    const [found] = await sql`select
      (select count(*)::int from events where type = 'session.reuse_detected') as reuses,
      (select count(*)::int from events where type = 'session.refresh_retried') as recorded,
      (select sum(retries)::int from sessions) as retries,
      (select sum(generation)::int from sessions) as rotations`;
    await sql.end();
    return found as Record<"reuses" | "recorded" | "retries" | "rotations", number>;
  };

  test("a thousand honest clients on bad networks stay signed in", async () => {
    const roaming = await signIn(700, true);
    const settled = await signIn(300, false);
    await Promise.all([
      each(roaming, TOGETHER, (client) => refreshInTabs(urls, client, { ...bad, move: 0.5 })),
      each(settled, TOGETHER / 2, (client) => refreshInTabs(urls, client, bad)),
    ]);
    await sleep(1_000);
    const found = await counts();
    console.log(`1,000 honest clients: ${JSON.stringify(found)}`);
    expect(signedOut([...roaming, ...settled])).toBe(0);
    expect(found.reuses).toBe(0);
    expect(found.retries).toBeGreaterThan(1_000);
    // Twenty an hour for each of ten users.
    expect(found.recorded).toBe(200);
  });

  test("clients without a device token lose the session if their network changes before a retry (measured)", async () => {
    const before = await counts();
    const clients = await signIn(300, false);
    const move = 0.1;
    await each(clients, TOGETHER, (client) => refreshInTabs(urls, client, { ...bad, move }));
    await sleep(1_000);
    const found = await counts();
    const lost = found.reuses - before.reuses;
    console.log(
      `Without a device token, one in ten tries again from another network: ${lost} of ${clients.length} sessions ended in ${found.rotations - before.rotations} rotations and ${found.retries - before.retries} retries`,
    );
    // A late duplicate may end a session that its client no longer uses.
    expect(signedOut(clients)).toBeLessThanOrEqual(lost);
  });

  test("an attacker who refreshes with a stolen token right after the owner gets nothing, and the session ends", async () => {
    const [owner] = await signIn(1, true);
    if (!owner) throw new Error("a client has signed in");
    const attacker = { agent: "curl", ip: "198.51.100.66", device: undefined };
    const [here = "", there = ""] = urls;
    const stolen = owner.refreshToken;
    const rotated = await refresh(here, stolen, owner);
    const { access_token: access } = (await rotated.json()) as { access_token: string };
    expect((await refresh(there, stolen, attacker)).status).toBe(401);
    const me = (instance: string) =>
      fetch(`${instance}/api/v1/users/me`, { headers: { authorization: `Bearer ${access}` } });
    for (const instance of urls) while ((await me(instance)).status !== 401) await sleep(50);
    expect((await refresh(here, stolen, owner)).status).toBe(401);
  });
});
