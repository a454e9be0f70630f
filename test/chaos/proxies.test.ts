/** Behind Caddy and nginx, with the files of `deploy/`; only addresses, ports and TLS are others. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect as dial } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { client, emptyFolder, freePort, serve } from "../support/program.ts";

setDefaultTimeout(60_000);
const PASSWORD = "correct horse battery staple";
const deploy = join(import.meta.dir, "../../deploy");
/** Another address of this machine than the proxy's own. */
const VISITOR = "127.0.0.2";
/** The files say 10 seconds. */
const CUT_AFTER_MS = 15_000;

const proxies: ChildProcess[] = [];
afterAll(() => {
  for (const proxy of proxies) proxy.kill("SIGKILL");
});

interface Ports {
  outside: number;
  inside: number;
}

/** Writes the file with `changes` made, each of which must be one, and answers where. */
function adapted(file: string, changes: [string | RegExp, string][]): string {
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

const starts: Record<string, (ports: Ports) => string[]> = {
  caddy: ({ outside, inside }) => [
    ...["run", "--adapter", "caddyfile", "--config"],
    adapted("caddy/Caddyfile", [
      ["{\n\tservers", "{\n\tadmin off\n\tservers"],
      [/^accounts\.example\.com/m, `http://127.0.0.1:${outside}`],
      ["127.0.0.1:3000", `127.0.0.1:${inside}`],
    ]),
  ],
  nginx: ({ outside, inside }) => {
    const server = adapted("nginx/bunker.conf", [
      ["listen 443 ssl", `listen 127.0.0.1:${outside}`],
      ["server 127.0.0.1:3000", `server 127.0.0.1:${inside}`],
      [/^ *ssl_certificate .*\n/m, ""],
      [/^ *ssl_certificate_key .*\n/m, ""],
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
  },
};

const found = (name: string) =>
  [`/usr/sbin/${name}`, `/usr/bin/${name}`, Bun.which(name) ?? ""].find((path) => Bun.which(path));

interface Said {
  status: number;
  body: string;
}

interface Asking {
  headers: Record<string, string>;
  body?: object;
}

/** Asks from the visitor's address. */
const ask = (port: number, path: string, { body, headers }: Asking) =>
  new Promise<Said>((done, fail) => {
    const asked = request(
      {
        ...{ host: "127.0.0.1", port, path: `/api/v1${path}`, localAddress: VISITOR },
        method: body ? "POST" : "GET",
        headers: { "content-type": "application/json", ...headers },
      },
      (answer) => {
        let text = "";
        answer.on("data", (chunk) => {
          text += chunk;
        });
        answer.on("end", () => done({ status: answer.statusCode ?? 0, body: text }));
      },
    );
    asked.on("error", fail);
    asked.end(body ? JSON.stringify(body) : undefined);
  });

/** After how long a connection on which only `text` was sent is cut. */
const cutAfterMs = (port: number, text: string) =>
  new Promise<number>((done) => {
    const startedAt = performance.now();
    const socket = dial(port, "127.0.0.1", () => socket.write(text));
    const dripping = setInterval(() => socket.write("x"), 1_000);
    const end = () => {
      clearInterval(dripping);
      socket.destroy();
      done(performance.now() - startedAt);
    };
    socket
      .on("data", () => {})
      .on("error", end)
      .on("close", end);
    setTimeout(end, 2 * CUT_AFTER_MS);
  });

for (const [name, start] of Object.entries(starts)) {
  const program = found(name);
  describe.if(program !== undefined)(`behind ${name}`, () => {
    test("whoever asks is known by their own address, whatever they write, and a slow one is cut", async () => {
      const [inside, outside] = [await freePort(), await freePort()];
      const server = await serve({
        cwd: emptyFolder(),
        env: { PORT: String(inside), TRUSTED_PROXIES: "127.0.0.1" },
      });
      const proxy = spawn(program ?? "", start({ inside, outside }), {
        stdio: "ignore",
        env: { ...process.env, HOME: emptyFolder() },
      });
      proxies.push(proxy);
      const url = `http://127.0.0.1:${outside}`;
      while (!(await fetch(`${url}/livez`).catch(() => undefined))?.ok) await sleep(50);

      const spoof = (n: number) => ({
        "x-forwarded-for": `198.51.100.${n}`,
        "x-real-ip": "10.1.1.1",
      });
      const statuses: number[] = [];
      for (let n = 0; n < 22; n += 1) {
        const body = { email: `p${n}@example.com`, password: PASSWORD };
        statuses.push((await ask(outside, "/auth/register", { headers: spoof(n), body })).status);
      }
      expect(statuses).toEqual([...Array(20).fill(201), 429, 429]);
      const token = await client(server.url).logIn("p0@example.com", PASSWORD);
      const headers = { authorization: `Bearer ${token}` };
      const events = await ask(outside, "/users/me/events", { headers });
      expect(events.body).toContain(`"${VISITOR}"`);
      expect(events.body).not.toContain("198.51.100.");

      const head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: accounts.example.com\r\n";
      const cut = await Promise.all([cutAfterMs(outside, head), cutAfterMs(outside, "GET / HT")]);
      expect(Math.max(...cut)).toBeLessThan(CUT_AFTER_MS);
      expect(await server.end("SIGTERM")).toBe(0);
    });
  });
}
