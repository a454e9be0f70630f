/** `bunker events`, beside a running server. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { brokers } from "../support/brokers.ts";
import { client, command, ownWords, serve, usedFolder } from "../support/program.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);
const PASSWORD = "correct horse battery staple";

const eventsOf = (cwd: string) => async (args: string[]) => {
  const { code, out, err } = await command(["events", ...args], { cwd });
  return { code, out, err };
};

test("list prints the events that match, oldest first, and pages by cursor", async () => {
  const cwd = await usedFolder();
  const run = eventsOf(cwd);
  expect((await run(["list"])).out).toBe("There is no such event.\n");
  const server = await serve({ cwd });
  await client(server.url).register("ada@example.com", PASSWORD);
  await client(server.url).logIn("ada@example.com", PASSWORD);
  const list = async (...args: string[]) =>
    JSON.parse((await run(["list", "--json", ...args])).out);
  const all = await list();
  expect(all.map(({ type }: { type: string }) => type)).toEqual([
    "user.created",
    "session.started",
  ]);
  const [first, second] = all;
  expect(first).toMatchObject({ specversion: "1.0", subject: second.subject });
  expect(await list("--limit", "1")).toEqual([first]);
  expect(await list("--after", first.sequence)).toEqual([second]);
  expect(await list("--type", "session.started,session.ended")).toEqual([second]);
  expect(await list("--since", second.time)).toEqual([second]);
  expect(await list("--since", "2100-01-01T00:00:00+01:00")).toEqual([]);
  const { out } = await run(["list", "--limit", "1"]);
  expect(out).toBe(
    `${first.sequence}  ${first.time}  user.created  ${first.subject}  by anonymous from 127.0.0.1\n`,
  );
});

test("a wrong cursor, time or type is refused, and says what is right", async () => {
  const run = eventsOf(await usedFolder());
  for (const [args, code, hint] of [
    [["list", "--after", "12"], 2, "32 hexadecimal digits"],
    [["list", "--since", "yesterday"], 2, "2026-01-31T00:00:00Z"],
    [["list", "--since", "2026-02-31T00:00:00Z"], 2, "2026-01-31T00:00:00Z"],
    [["replay", "--since", "2026-02-31T00:00:00Z"], 2, "2026-01-31T00:00:00Z"],
    [["list", "--type", "user.craeted"], 2, "Did you mean user.created?"],
    [["list", "--limit", "0"], 2, "--limit"],
    [["replay"], 2, "--after CURSOR or --since TIME"],
    [["replay", "--after", "0".repeat(32), "--since", "2026-01-31T00:00:00Z"], 2, "--after CURSOR"],
    [["replay", "--after", "0".repeat(32)], 1, "There is no message queue. Set BROKER_URL"],
  ] as const) {
    const answer = await run([...args]);
    expect([args, answer.code, answer.err]).toEqual([args, code, expect.stringContaining(hint)]);
  }
  expect((await run(["lag"])).out).toStartWith("There is no message queue and no webhook.");
});

test("tail prints each new event on a line, and Ctrl-C ends it", async () => {
  const cwd = await usedFolder();
  const server = await serve({ cwd });
  await client(server.url).register("before@example.com", PASSWORD);
  const [program = "", ...words] = ownWords;
  const tail = spawn(program, [...words, "events", "tail", "--json", "--type", "user.created"], {
    cwd,
    env: { PATH: process.env["PATH"] ?? "" },
  });
  const said = { out: "" };
  tail.stdout.on("data", (chunk) => {
    said.out += chunk;
  });
  const ended = new Promise((done) => tail.once("close", done));
  // It may begin before or after the first of them.
  for (let n = 0; said.out.split("\n").length < 3; n += 1) {
    await client(server.url).register(`user${n}@example.com`, PASSWORD);
    await sleep(500);
  }
  tail.kill("SIGINT");
  expect(await ended).toBe(0);
  const lines = said.out.trim().split("\n");
  for (const line of lines) expect(JSON.parse(line)).toMatchObject({ type: "user.created" });
  const listed = JSON.parse((await eventsOf(cwd)(["list", "--json"])).out);
  const ids = listed.map(({ id }: { id: string }) => id);
  const seen = lines.map((line) => JSON.parse(line).id);
  expect(seen).toEqual(ids.slice(ids.indexOf(seen[0])));
  expect(ids.indexOf(seen[0])).toBeGreaterThan(0);
});

const [, nats] = brokers;
nats?.needs.test(
  "lag shows what the message queue does not have, and replay publishes again",
  async () => {
    const queue = await nats.open();
    const cwd = await usedFolder();
    const run = eventsOf(cwd);
    const lag = async () => JSON.parse((await run(["lag", "--json"])).out)[0];
    const server = await serve({ cwd, env: { BROKER_URL: queue.urlOf(queue.port) } });
    const line = `Events     to NATS at 127.0.0.1:${queue.port}\n`;
    await until(async () => server.said.out.includes(line));
    await client(server.url).register("ada@example.com", PASSWORD);
    await until(async () => (await lag()).events_behind === 0);
    const idle = await lag();
    expect(idle).toMatchObject({ sink: "broker", waited_seconds: 0 });
    expect(idle.holder).toContain(`/${server.pid}/`);
    await queue.kill();
    await client(server.url).register("bob@example.com", PASSWORD);
    await until(async () => (await lag()).holder === null);
    expect(await lag()).toMatchObject({ events_behind: 1, cursor: idle.cursor });
    expect((await run(["lag"])).out).toContain("1 events behind, ");
    await queue.up();
    await until(async () => (await lag()).events_behind === 0);

    const first = "0".repeat(32);
    const replayed = await run(["replay", "--after", first]);
    expect([replayed.code, replayed.out]).toEqual([
      0,
      `The message queue gets all events after ${first} again.\n`,
    ]);
    expect(replayed.err).toStartWith("Changed: embedded PostgreSQL");
    await until(async () => (await lag()).events_behind === 0);
    const again = await run(["replay", "--since", "2100-01-01T00:00:00Z"]);
    expect([again.code, again.err]).toEqual([0, ""]);
    expect(again.out).toContain("nothing to replay");
    // NATS stores an id once.
    expect((await queue.received()).map(({ key }) => key)).toEqual([
      "user.created",
      "user.created",
    ]);
    await server.end("SIGTERM");
    await queue.kill();
  },
);
