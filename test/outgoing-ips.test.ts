import { afterAll, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openOutgoing } from "../src/adapters/outgoing.ts";
import type { OutgoingOutcome } from "../src/kit/outgoing.ts";
import type { ReceiverRules } from "../src/kit/webhook-url.ts";
import { needs } from "./support/needs.ts";
import { answering, bodyIn, head, receiver, resultOf } from "./support/receiver.ts";

const now = () => new Date();
const production: ReceiverRules = { webhooksAllow: [], webhooksAllowPrivate: false };
const anywhere: ReceiverRules = { webhooksAllow: [], webhooksAllowPrivate: true };
const message = { headers: {}, body: "{}" };

describe("the address", () => {
  /** What happens to a post to a name with these IPs, and which names were resolved. */
  async function postTo(
    ips: string[],
    { rules = production, url = "https://a.example.com/" } = {},
  ) {
    const asked: string[] = [];
    const resolve = async (name: string) => {
      asked.push(name);
      return ips;
    };
    const outcome = await openOutgoing(rules, { now, resolve }).post(url, message);
    return { outcome, asked };
  }

  test("nothing is sent if one IP of a name is private, wherever it stands", async () => {
    const { received, port } = await answering("ok");
    const url = `https://a.example.com:${port}/`;
    for (const ips of [["127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["8.8.8.8", "::ffff:127.0.0.1"]]) {
      const { outcome } = await postTo(ips, { url });
      expect(outcome).toMatchObject({ failure: "refused IP" });
    }
    expect(received).toEqual([]);
  });

  test("a stored URL that the rules no longer allow is not resolved", async () => {
    const url = "http://product.internal:8080/";
    const allowed = { webhooksAllow: ["product.internal:8080"], webhooksAllowPrivate: false };
    expect((await postTo([], { rules: allowed, url })).asked).toEqual(["product.internal"]);
    const { outcome, asked } = await postTo(["127.0.0.1"], { url });
    expect(outcome).toMatchObject({
      failure: "refused IP",
      detail: "The URL must begin with https://, unless WEBHOOKS_ALLOW has its host and port.",
    });
    expect(asked).toEqual([]);
  });

  test("a name that resolves anew gets the connection at the IP that was checked", async () => {
    const checked = await answering("checked", "connection: close");
    // What the name of the URL resolves to, as soon as anything asks again.
    const other = await receiver((socket) => socket.end(head("200 OK", "content-length: 0")), {
      host: "127.0.0.2",
      port: checked.port,
    });
    const url = `http://localhost:${checked.port}/hook`;
    const rules = { webhooksAllow: [`localhost:${checked.port}`], webhooksAllowPrivate: false };
    const first = await postTo(["127.0.0.1"], { rules, url });
    expect(bodyIn(first.outcome)).toBe("checked");
    expect(first.asked).toEqual(["localhost"]);
    expect(other.received).toEqual([]);
    // The same the other way round: the system resolves localhost to 127.0.0.1.
    expect((await postTo(["127.0.0.2"], { rules, url })).outcome).toMatchObject({ status: 200 });
    expect(checked.received).toHaveLength(1);
    expect(other.received[0]).toContain(`Host: localhost:${checked.port}`);
  });

  test("the next IP is tried only if one refuses the connection", async () => {
    const closes = await receiver((socket) => socket.destroy());
    const answers = await receiver((socket) => socket.end(head("200 OK", "content-length: 0")), {
      host: "127.0.0.2",
      port: closes.port,
    });
    const url = `http://a.example.com:${closes.port}/`;
    const try_ = async (...ips: string[]) =>
      resultOf((await postTo(ips, { rules: anywhere, url })).outcome);
    expect(await try_("127.0.0.3", "127.0.0.4", "127.0.0.2")).toBe(200);
    expect(await try_("127.0.0.1", "127.0.0.2")).toBe("connection lost");
    expect(await try_("127.0.0.3", "127.0.0.4")).toBe("cannot connect");
    expect(answers.received).toHaveLength(1);
  });

  test("a name without an IP is reported, also when resolving it fails", async () => {
    expect((await postTo([])).outcome).toMatchObject({ failure: "cannot resolve" });
    const resolve = () => Promise.reject(Object.assign(new Error("no"), { code: "DNS_ESERVFAIL" }));
    const { post: send } = openOutgoing(production, { now, resolve });
    expect(await send("https://a.example.com/", message)).toMatchObject({
      failure: "cannot resolve",
      detail: "The host name has no IP (DNS_ESERVFAIL).",
    });
  });

  test("IPv6 and a name of the system are reached as well", async () => {
    const send = (url: string) => openOutgoing(anywhere, { now }).post(url, message);
    const { port, received } = await receiver((socket) => socket.end(head("204 No Content")), {
      host: "::",
    });
    expect(await send(`http://[::1]:${port}/a?b=c`)).toMatchObject({ status: 204, body: "" });
    expect(await send(`http://localhost:${port}/`)).toMatchObject({ status: 204 });
    expect(received[0]).toStartWith("POST /a?b=c HTTP/1.1\r\n");
    expect(received[0]).toContain(`Host: [::1]:${port}\r\n`);
  });
});

/** Posts in turn from another process, with more variables. */
async function postWith(
  env: Record<string, string>,
  ...urls: string[]
): Promise<OutgoingOutcome[]> {
  const script = fileURLToPath(import.meta.resolve("./support/post.ts"));
  const program = Bun.spawn([process.execPath, script, ...urls], {
    env: { ...process.env, ...env },
  });
  return JSON.parse(await new Response(program.stdout).text());
}

test("a proxy in the environment is not used", async () => {
  const proxy = await receiver((socket) => socket.end(head("502 Bad", "content-length: 0")));
  const { url, received } = await answering("ok");
  const names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
  const variables = [...names, ...names.map((name) => name.toLowerCase())].map(
    (name) => [name, `http://127.0.0.1:${proxy.port}`] as const,
  );
  const env = { ...Object.fromEntries(variables), NO_PROXY: "", no_proxy: "" };
  const outcomes = await postWith(env, url, url.replace("http:", "https:"));
  expect(outcomes.map(resultOf)).toEqual([200, expect.any(String)]);
  expect(received[0]).toStartWith("POST /hook HTTP/1.1\r\n");
  const handshake = "\x16\x03\x01";
  expect(received[1]).toStartWith(handshake);
  expect(proxy.received).toEqual([]);
});

needs("openssl").describe("over TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "bunker-outgoing-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** An HTTPS server with a certificate of its own. Each response has the port of the client. */
  function secureReceiver(names: string) {
    const [key, cert] = [join(folder, `${names}.key`), join(folder, `${names}.pem`)];
    const made = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=${names} -addext subjectAltName=${names} -keyout ${key} -out ${cert}`;
    execFileSync("openssl", made.split(" "), { stdio: "ignore" });
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      tls: { key: Bun.file(key), cert: Bun.file(cert) },
      fetch: (request, it) => new Response(String(it.requestIP(request)?.port)),
    });
    afterAll(() => server.stop(true));
    return { port: server.port, trusting: { NODE_EXTRA_CA_CERTS: cert } };
  }

  test("the certificate must have the name of the URL, also on an open connection", async () => {
    const { port, trusting } = secureReceiver("DNS:a.example.com");
    const [a, b] = [`https://a.example.com:${port}/`, `https://b.example.com:${port}/`];
    const ip = `https://127.0.0.1:${port}/`;
    const outcomes = await postWith(trusting, a, a, b, ip, a.replace(".com", ".com."), a);
    expect(outcomes.map(resultOf)).toEqual([200, 200, "TLS", "TLS", 200, 200]);
    // All were sent over one connection, and the refused ones not at all.
    const ports = [0, 1, 4, 5].map((at) => bodyIn(outcomes[at] as OutgoingOutcome));
    expect(new Set(ports).size).toBe(1);
  });

  test("an IP in the URL must be in the certificate", async () => {
    const { port, trusting } = secureReceiver("IP:127.0.0.1");
    const [ip, name] = [`https://127.0.0.1:${port}/`, `https://a.example.com:${port}/`];
    expect((await postWith(trusting, ip, name, ip)).map(resultOf)).toEqual([200, "TLS", 200]);
  });

  test("an unknown authority is refused, also if the environment turns verification off", async () => {
    const { port } = secureReceiver("DNS:c.example.com");
    const off = { NODE_TLS_REJECT_UNAUTHORIZED: "0" };
    expect(await postWith(off, `https://c.example.com:${port}/`)).toMatchObject([
      { failure: "TLS", detail: expect.stringContaining("SELF_SIGNED") },
    ]);
  });
});
