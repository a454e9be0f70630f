/** Logs and output that cannot be written, or that no process reads. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  client,
  emptyFolder,
  linesOf,
  type Serving,
  serve,
  usedFolder,
} from "../support/program.ts";

setDefaultTimeout(60_000);
const PASSWORD = "correct horse battery staple";
const REQUESTS = 12_000;
const AT_ONCE = 40;

/** More lines than the buffer holds. */
async function askOften({ url }: Serving): Promise<number> {
  let served = 0;
  const ask = async () => {
    for (let left = REQUESTS / AT_ONCE; left > 0; left -= 1)
      if ((await fetch(`${url}/version`)).ok) served += 1;
  };
  await Promise.all(Array.from({ length: AT_ONCE }, ask));
  return served;
}

test("an unread log delays no request; a line reports what was lost once it is read again", async () => {
  const path = join(emptyFolder(), "fifo");
  execFileSync("mkfifo", [path]);
  const pipe = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const server = await serve({ cwd: await usedFolder(), stderr: pipe });
  expect(await askOften(server)).toBe(REQUESTS);
  const api = client(server.url);
  await api.register("ada@example.com", PASSWORD);
  expect(await api.logIn("ada@example.com", PASSWORD)).toContain(".");
  const said = await readUntil(pipe, "Log lines were dropped");
  const lost = linesOf(said).find(({ msg }) => String(msg).startsWith("Log lines were dropped"));
  expect(lost).toMatchObject({ level: "warn", lines: expect.any(Number) });
  expect(await server.end("SIGTERM")).toBe(0);
  closeSync(pipe);
});

async function readUntil(pipe: number, words: string): Promise<string> {
  const chunk = Buffer.alloc(1 << 16);
  let said = "";
  while (!said.includes(words) || !said.endsWith("\n")) {
    try {
      said += chunk.toString("utf8", 0, readSync(pipe, chunk));
    } catch {
      await sleep(5);
    }
  }
  return said;
}

test("a full disk or a closed reader delays no request", async () => {
  const full = openSync("/dev/full", "w");
  for (const place of [pipeWithoutReader(), full]) {
    const server = await serve({ cwd: await usedFolder(), stdout: place, stderr: place });
    expect(await askOften(server)).toBe(REQUESTS);
    expect(await server.end("SIGTERM")).toBe(0);
    closeSync(place);
  }
});

function pipeWithoutReader(): number {
  const path = join(emptyFolder(), "fifo");
  execFileSync("mkfifo", [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  closeSync(reader);
  return writer;
}

test("full pipes with a blocked write delay no request", async () => {
  const path = join(emptyFolder(), "fifo");
  execFileSync("mkfifo", [path]);
  const filler = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  expect(() => {
    for (;;) writeSync(filler, Buffer.alloc(PIPE_BYTES));
  }).toThrow("EAGAIN");
  const full = openSync(path, constants.O_WRONLY);
  // As on two cores: with more, threads would remain free.
  const env = { RATE_LIMIT: "off", UV_THREADPOOL_SIZE: "2" };
  const server = await serve({ cwd: await usedFolder(), env, stdout: full, stderr: full });
  expect(await askOften(server)).toBe(REQUESTS);
  const api = client(server.url);
  await api.register("ada@example.com", PASSWORD);
  // More concurrent hashes than threads.
  const tokens = await Promise.all(
    Array.from({ length: 20 }, () => api.logIn("ada@example.com", PASSWORD)),
  );
  expect(tokens.filter((token) => token.includes("."))).toHaveLength(20);
  expect(await server.end("SIGTERM")).toBe(0);
  closeSync(full);
  closeSync(filler);
});
const PIPE_BYTES = 4096;
