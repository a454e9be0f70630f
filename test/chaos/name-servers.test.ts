import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const canMount = spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;

test.if(canMount)(
  "webhooks notice a new name server, and one that does not answer delays no password hash",
  () => {
    const file = join(tmpdir(), `bunker-resolv-${process.pid}.conf`);
    writeFileSync(file, "");
    const script = fileURLToPath(import.meta.resolve("../support/name-server.ts"));
    const line = `mount --bind ${file} /etc/resolv.conf && exec "$@"`;
    const words = ["-m", "sh", "-c", line, "sh", process.execPath, script];
    const { stdout, stderr } = spawnSync("unshare", words);
    rmSync(file);
    expect([String(stdout), String(stderr)]).toEqual([
      `${JSON.stringify({ before: "cannot resolve", after: "refused IP", first: "hash" })}\n`,
      "",
    ]);
  },
  30_000,
);
