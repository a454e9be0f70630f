/**
 * The logs of the proxies of `deploy/` and `docs/guides/proxy.md`, with a server that runs and then
 * not.
 */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { emptyFolder, freePort } from "../support/program.ts";

setDefaultTimeout(60_000);
const root = join(import.meta.dir, "../..");
const TOKEN = "ot_a-secret-of-a-mailed-link";

interface Place {
  folder: string;
  outside: number;
  inside: number;
}

/** Reads a file with `changes`, each of which must match. */
function adapted(file: string, changes: [string | RegExp, string][]): string {
  let text = readFileSync(join(root, file), "utf8");
  for (const [from, to] of changes) {
    const changed = text.replaceAll(from, to);
    if (changed === text) throw new Error(`${file} has no ${from}`);
    text = changed;
  }
  return text;
}

/** Writes the configuration of each proxy. Returns its arguments. */
const proxies: Record<string, (place: Place) => string[]> = {
  nginx: ({ folder, outside, inside }) => {
    const server = adapted("deploy/nginx/bunker.conf", [
      ["listen 443 ssl", `listen 127.0.0.1:${outside}`],
      ["server 127.0.0.1:3000", `server 127.0.0.1:${inside}`],
      [/^ *ssl_certificate.*\n/gm, ""],
      ["/var/log/nginx", folder],
    ]);
    const bodies = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (kind) => `${kind}_temp_path ${folder}/${kind};`,
    );
    const file = join(folder, "nginx.conf");
    writeFileSync(
      file,
      `daemon off; pid ${folder}/pid; error_log ${folder}/error.log; events {}
http { ${bodies.join(" ")} ${server} }`,
    );
    return ["-e", join(folder, "error.log"), "-c", file];
  },
  caddy: ({ folder, outside, inside }) => {
    const filter = /\tlog \{[\s\S]*?\n\t\}\n/.exec(adapted("deploy/caddy/Caddyfile", []))?.[0];
    const file = join(folder, "Caddyfile");
    const text = adapted("deploy/caddy/Caddyfile", [
      [/^\{$/gm, "{\n\tadmin off"],
      [/^accounts\.example\.com \{/gm, `http://127.0.0.1:${outside} {\n${filter}`],
      ["127.0.0.1:3000", `127.0.0.1:${inside}`],
    ]);
    writeFileSync(file, text);
    return ["run", "--adapter", "caddyfile", "--config", file];
  },
  haproxy: ({ folder, outside, inside }) => {
    const format = /^ *log-format .*$/m.exec(adapted("docs/guides/proxy.md", []))?.[0];
    const file = join(folder, "haproxy.cfg");
    writeFileSync(
      file,
      `defaults
  mode http
  retries 0
  timeout connect 1s
  timeout client 5s
  timeout server 5s
  log stdout format raw local0
${format}
listen bunkers
  bind 127.0.0.1:${outside}
  server bunker 127.0.0.1:${inside}
`,
    );
    return ["-db", "-f", file];
  },
};

const found = (name: string) =>
  [`/usr/sbin/${name}`, `/usr/bin/${name}`, Bun.which(name) ?? ""].find((path) => Bun.which(path));

const running: ChildProcess[] = [];
afterAll(() => {
  for (const child of running) child.kill("SIGKILL");
});

for (const [name, configure] of Object.entries(proxies))
  test.if(found(name) !== undefined)(`${name} logs no query of a mailed link`, async () => {
    const place = { folder: emptyFolder(), outside: await freePort(), inside: await freePort() };
    const log = openSync(join(place.folder, "output.log"), "a");
    const child = spawn(found(name) ?? "", configure(place), {
      stdio: ["ignore", log, log],
      env: { ...process.env, HOME: place.folder },
    });
    closeSync(log);
    running.push(child);
    const url = (path: string) => `http://127.0.0.1:${place.outside}${path}?token=${TOKEN}`;
    const open = async (path: string) =>
      fetch(url(path), {
        headers: { referer: url("/"), "device-token": TOKEN },
        keepalive: false,
        redirect: "manual",
      }).then(
        ({ status }) => status,
        () => 0,
      );
    const paths = ["/reset-password", "/verify-email", "/undo-email", "/sign-in"];
    const server = Bun.serve({
      port: place.inside,
      hostname: "127.0.0.1",
      fetch: () => new Response(""),
    });
    const deadline = Date.now() + 20_000;
    while ((await open("/sign-in")) !== 200 && Date.now() < deadline) await sleep(100);
    for (const path of paths) expect([path, await open(path)]).toEqual([path, 200]);
    await server.stop(true);
    for (const path of ["/reset-password", "/%73ign-in"])
      expect(await open(path)).toBeGreaterThan(499);
    child.kill("SIGTERM");
    await sleep(500);
    const logs = readdirSync(place.folder)
      .filter((file) => file.endsWith(".log"))
      .map((file) => readFileSync(join(place.folder, file), "utf8"))
      .join("\n");
    expect(logs).toContain("/reset-password");
    expect(logs).not.toContain(TOKEN);
  });
