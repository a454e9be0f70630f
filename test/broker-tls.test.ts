/** The certificate of a message queue is checked against the host of BROKER_URL. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createServer } from "node:tls";
import { nats } from "./support/brokers.ts";
import { certificateOfLocalhost } from "./support/certificate.ts";
import { needs } from "./support/needs.ts";
import { emptyFolder } from "./support/program.ts";

setDefaultTimeout(60_000);

function certificateFiles() {
  const folder = emptyFolder();
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const made = certificateOfLocalhost();
  writeFileSync(key, made.key);
  writeFileSync(cert, made.certificate);
  return { key, cert };
}

/** In a process of its own: Bun reads the trusted authorities when it starts. */
async function publish(url: string, trusted?: string): Promise<string> {
  const env = { PATH: process.env["PATH"] ?? "", NODE_EXTRA_CA_CERTS: trusted };
  const child = spawn(process.execPath, [join(import.meta.dir, "support/publish.ts"), url], {
    env: trusted ? env : { PATH: env.PATH },
  });
  let said = "";
  child.stdout.on("data", (chunk) => {
    said += chunk;
  });
  await new Promise((done) => child.once("close", done));
  return said.trim();
}

const MISMATCH = "ERR_TLS_CERT_ALTNAME_INVALID";
const UNTRUSTED = "DEPTH_ZERO_SELF_SIGNED_CERT";

test("amqps:// accepts only a trusted certificate of this host", async () => {
  const { key, cert } = certificateFiles();
  // It closes each connection after the handshake, which a client meets only if that succeeds.
  const options = { key: readFileSync(key), cert: readFileSync(cert) };
  const server = createServer(options, (socket) => socket.destroy());
  server.on("tlsClientError", () => {});
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  expect(await publish(`amqps://localhost:${port}`)).toBe(UNTRUSTED);
  expect(await publish(`amqps://127.0.0.1:${port}`, cert)).toBe(MISMATCH);
  expect(await publish(`amqps://localhost:${port}`, cert)).not.toMatch(/CERT|TLS/);
  server.close();
});

needs("nats-server").test("tls:// accepts only a trusted certificate of this host", async () => {
  const { key, cert } = certificateFiles();
  const server = await nats(["--tls", "--tlscert", cert, "--tlskey", key]);
  expect(await publish(`tls://localhost:${server.port}`)).toBe(UNTRUSTED);
  expect(await publish(`tls://127.0.0.1:${server.port}`, cert)).toBe(MISMATCH);
  expect(await publish(`tls://localhost:${server.port}`, cert)).toBe("accepted");
  // Not without TLS either.
  expect(await publish(`nats://localhost:${server.port}`, cert)).toBe("ConnectionError");
  await server.kill();
});
