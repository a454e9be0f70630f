/** The proxies with their files of `deploy/`. Only IPs, ports and TLS differ. */
import { afterAll } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { emptyFolder, freePort } from "./program.ts";

const deploy = join(import.meta.dir, "../../deploy");

export interface Ports {
  outside: number;
  inside: number[];
}
type Change = [from: string | RegExp, to: string];

/** Writes the file with `changes`, each of which must match, and returns its path. */
function adapted(file: string, changes: Change[]): string {
  let text = readFileSync(join(deploy, file), "utf8");
  for (const [from, to] of changes) {
    const changed = text.replace(from, to);
    if (changed === text) throw new Error(`${file} has no ${from}`);
    text = changed;
  }
  const path = join(emptyFolder(), "proxy.conf");
  writeFileSync(path, text);
  chmodSync(path, 0o644);
  return path;
}

const caddy = ({ outside, inside }: Ports): string[] => [
  "run",
  "--adapter",
  "caddyfile",
  "--config",
  adapted("caddy/Caddyfile", [
    ["{\n\tservers", "{\n\tadmin off\n\tservers"],
    [/^accounts\.example\.com/m, `http://127.0.0.1:${outside}`],
    ["127.0.0.1:3000", inside.map((port) => `127.0.0.1:${port}`).join(" ")],
  ]),
];

function nginx({ outside, inside }: Ports): string[] {
  const server = adapted("nginx/bunker.conf", [
    ["listen 443 ssl", `listen 127.0.0.1:${outside}`],
    [/server 127\.0\.0\.1:3000(.*)/, inside.map((port) => `server 127.0.0.1:${port}$1`).join("\n")],
    [/^ *ssl_certificate .*\n/m, ""],
    [/^ *ssl_certificate_key .*\n/m, ""],
    [/^ *access_log .*\n/m, ""],
    [/ *error_log .* crit;\n/, ""],
  ]);
  const folder = emptyFolder();
  const whole = join(folder, "nginx.conf");
  const bodies = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  writeFileSync(
    whole,
    `daemon off; pid ${folder}/pid; error_log stderr; events {}
http { access_log off; ${bodies.join(" ")} include ${server}; }`,
  );
  return ["-e", "stderr", "-c", whole];
}

/** `changes` replace parts of the file for a test. */
export const haproxyWith =
  (changes: Change[]) =>
  ({ outside, inside }: Ports): string[] => {
    const servers = inside.map((port, at) => `server bunker${at} 127.0.0.1:${port}$1`);
    return [
      "-db",
      "-f",
      adapted("haproxy/haproxy.cfg", [
        [/bind :443 .*/, `bind 127.0.0.1:${outside}`],
        [/server bunker0 127\.0\.0\.1:3000(.*)/, servers.join("\n  ")],
        ...changes,
      ]),
    ];
  };

export const proxies: Record<string, (ports: Ports) => string[]> = {
  caddy,
  nginx,
  haproxy: haproxyWith([]),
};

export const pathOf = (name: string): string | undefined =>
  [`/usr/sbin/${name}`, `/usr/bin/${name}`, Bun.which(name) ?? ""].find((path) => Bun.which(path));

const running: ChildProcess[] = [];
afterAll(() => {
  for (const proxy of running) proxy.kill("SIGKILL");
});

/** Starts a proxy in front of the servers on the ports `inside`, and returns its port. */
export async function startProxy(
  name: string,
  inside: number[],
  argumentsOf = proxies[name],
): Promise<number> {
  const outside = await freePort();
  const proxy = spawn(pathOf(name) ?? "", argumentsOf?.({ outside, inside }) ?? [], {
    stdio: "ignore",
    env: { ...process.env, HOME: emptyFolder() },
  });
  running.push(proxy);
  const url = `http://127.0.0.1:${outside}/livez`;
  while (!(await fetch(url).catch(() => undefined))?.ok) await sleep(50);
  return outside;
}
