/**
 * A machine without free resources: a log line and a running server, or a message and an exit code.
 */

import { expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { openSync, readdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import {
  command,
  emptyFolder,
  isBinary,
  linesOf,
  ownWords,
  serve,
  usedFolder,
} from "../support/program.ts";

setDefaultTimeout(60_000);
const canMount = spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;

const limitFiles = (pid: number, soft: number) =>
  spawnSync("prlimit", ["--pid", String(pid), `--nofile=${soft}:`]).status === 0;

// From source, Bun reads files at their first use.
test.if(isBinary && Bun.which("prlimit") !== null)(
  "without a free file descriptor a server logs it once, keeps running, and recovers",
  async () => {
    const server = await serve({ cwd: await usedFolder(), env: { LOG_FORMAT: "json" } });
    const port = Number(new URL(server.url).port);
    const before = 20_000;
    expect(limitFiles(server.pid, readdirSync(`/proc/${server.pid}/fd`).length + 2)).toBe(true);
    const sockets = Array.from({ length: 40 }, (): Socket => {
      const socket = connect(port, "127.0.0.1").on("error", () => {});
      socket.write("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
      return socket;
    });
    const giveUpAt = performance.now() + 20_000;
    while (!server.said.err.includes("cannot be read") && performance.now() < giveUpAt)
      await sleep(50);
    // It checks repeatedly meanwhile.
    await sleep(1_500);
    limitFiles(server.pid, before);
    for (const socket of sockets) socket.destroy();
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
    expect(await server.end("SIGTERM")).toBe(0);
    const messages = linesOf(server.said.err).map(({ msg }) => String(msg));
    expect(messages.filter((msg) => msg.includes("Memory usage"))).toHaveLength(1);
    expect(messages.filter((msg) => /Uncaught|Unhandled/.test(msg))).toEqual([]);
  },
);

test("a full standard output ends a command with a message", async () => {
  const stdout = openSync("/dev/full", "w");
  for (const args of [["version"], ["config", "--json"], ["openapi"], ["service", "print"]]) {
    const { code, err } = await command(args, { stdout });
    expect([args, code, err]).toEqual([args, 1, "Cannot write to standard output (ENOSPC).\n"]);
  }
});

test.if(canMount)("a full /dev/shm ends the start with a message", () => {
  const line = `mount -t tmpfs -o size=4k none /dev/shm && exec "$@" serve`;
  const { status, stderr } = spawnSync("unshare", ["-m", "sh", "-c", line, "sh", ...ownWords], {
    cwd: emptyFolder(),
    env: { PATH: process.env["PATH"] ?? "", PORT: "3979", HOST: "127.0.0.1" },
  });
  expect([status, String(stderr)]).toEqual([69, expect.stringContaining("--shm-size")]);
});
