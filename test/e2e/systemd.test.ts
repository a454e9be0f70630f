/** Notifications to systemd and the unit, as far as they can be tested without systemd. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { needs } from "../support/needs.ts";
import { client, command, emptyFolder, isBinary, serve, usedFolder } from "../support/program.ts";

setDefaultTimeout(60_000);

needs("socat").describe("sd_notify", () => {
  test("reports that it is ready, that it runs, and that it stops", async () => {
    const socket = join(emptyFolder(), "notify");
    const listener = spawn("socat", ["-u", `UNIX-RECV:${socket},mode=777`, "STDOUT"]);
    let received = "";
    listener.stdout.on("data", (chunk) => {
      received += chunk;
    });
    while (!existsSync(socket)) await sleep(20);
    const server = await serve({
      cwd: await usedFolder(),
      env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: "1000000", SHUTDOWN_DELAY_SECONDS: "1" },
    });
    await sleep(1_200);
    expect(received).toMatch(/^READY=1(WATCHDOG=1){2,4}$/);
    expect(await server.end("SIGTERM")).toBe(0);
    expect(received).toMatch(/^READY=1(WATCHDOG=1)+STOPPING=1(WATCHDOG=1)*$/);
    listener.kill();
  });

  test("a missing socket does not stop the server", async () => {
    const env = { NOTIFY_SOCKET: "/nowhere/notify" };
    const server = await serve({ cwd: await usedFolder(), env });
    const answer = await client(server.url).register("ada@example.com", "a long pass phrase");
    expect(answer.status).toBe(201);
    expect(await server.end("SIGTERM")).toBe(0);
  });
});

describe.if(isBinary && Bun.which("systemd-analyze") !== null)("the unit", () => {
  test("is accepted by systemd, and exposes little", async () => {
    const { code, out } = await command(["service", "print"]);
    expect([code, out]).toEqual([0, expect.stringMatching(/^ExecStart=\/\S+bunker serve$/m)]);
    expect(out).toMatch(/\[Unit\][^[]*^StartLimitIntervalSec=0$[^[]*\[Service\]/m);
    expect(out).toMatch(/\[Service\][^[]*^RestartPreventExitStatus=2$/m);
    const file = join(emptyFolder(), "bunker.service");
    // A unit may not see the folder of this binary.
    const here = resolve(process.env["BUNKER"] ?? "");
    writeFileSync(file, out.replace(/^ExecStart=\S+/m, `ExecStart=${here}`));
    const verified = spawnSync("systemd-analyze", ["verify", file], { encoding: "utf8" });
    expect(`${verified.stdout}${verified.stderr}`).not.toContain("bunker.service:");
    const args = ["security", "--offline=true", "--threshold=25", "--no-pager", file];
    const exposed = spawnSync("systemd-analyze", args, { encoding: "utf8" });
    expect([exposed.status, exposed.stdout.split("\n").at(-2)]).toEqual([0, expect.any(String)]);
  });

  test("starts no binary that it could not see or name, and says what to do", () => {
    const binary = join(emptyFolder(), "my bunker");
    copyFileSync(process.env["BUNKER"] ?? "", binary);
    const { stdout, stderr } = spawnSync(binary, ["service", "print"], { encoding: "utf8" });
    expect(stdout).toMatch(/^ExecStart=\/usr\/local\/bin\/bunker serve$/m);
    expect(stderr).toContain(`sudo install '${binary}' /usr/local/bin/bunker`);
  });
});
