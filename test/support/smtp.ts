import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SMTPServer } from "smtp-server";
import { certificateOfLocalhost } from "./certificate.ts";

/** A mail that a server received. */
export interface Received {
  to: string[];
  source: string;
  /** The name in EHLO. */
  ehlo: string;
}

export interface MailServer {
  scheme: SmtpScheme;
  port: number;
  received: Received[];
  caFile: string;
  /** The reply to each recipient from now on. Undefined: all are accepted. */
  refuse: (code: number | undefined) => void;
  /** The delay before it greets a client. */
  greetAfter: (ms: number) => void;
  /** The delay before it confirms a mail. */
  ponder: (ms: number) => void;
  /** The reply to each sender from now on. */
  refuseSender: (code: number | undefined) => void;
  /** Stops, and starts again on the same port. */
  down: () => Promise<void>;
  up: () => Promise<void>;
  close: () => Promise<void>;
}

const CLOSE_TIMEOUT_MS = 1_000;

export const USER = "bunker";
export const SECRET_WORD = "p@ss word";

export type SmtpScheme = "smtp" | "smtps";

/** A real mail server on this machine, with TLS, its own certificate and a password. */
export async function mailServer({
  port = 0,
  scheme = "smtp",
}: {
  port?: number;
  scheme?: SmtpScheme;
} = {}): Promise<MailServer> {
  const folder = mkdtempSync(join(tmpdir(), "bunker-smtp-"));
  const { certificate: cert, key } = certificateOfLocalhost();
  // As an editor of Windows saves it.
  const caFile = join(folder, "ca.pem");
  writeFileSync(caFile, `\uFEFF${cert.replaceAll("\n", "\r\n")}`);
  const received: Received[] = [];
  let refusal: number | undefined;
  let greetAfterMs = 0;
  let ponderMs = 0;
  let senderRefusal: number | undefined;
  const answer = (code: number | undefined, done: (error?: Error) => void) =>
    code === undefined
      ? done()
      : done(Object.assign(new Error("not here"), { responseCode: code }));
  const open = () => {
    const server = new SMTPServer({
      secure: scheme === "smtps",
      key,
      cert,
      authMethods: ["PLAIN"],
      closeTimeout: CLOSE_TIMEOUT_MS,
      onConnect: (_, done) => void setTimeout(done, greetAfterMs),
      onAuth: ({ username, password }, _, done) =>
        username === USER && password === SECRET_WORD
          ? done(null, { user: username })
          : done(new Error("no")),
      onMailFrom: (_, __, done) => answer(senderRefusal, done),
      onRcptTo: (_, __, done) => answer(refusal, done),
      onData: async (stream, { envelope, hostNameAppearsAs: ehlo }, done) => {
        const source = (await new Response(stream as never).text()).toString();
        received.push({ to: envelope.rcptTo.map(({ address }) => address), source, ehlo });
        setTimeout(done, ponderMs);
      },
    });
    // A client that refuses the certificate causes an error. Without a listener, Node throws it.
    server.on("error", () => undefined);
    return server;
  };
  let server = open();
  const listen = (at: number) =>
    new Promise<void>((listening) => server.listen(at, "127.0.0.1", listening));
  const down = () => new Promise<void>((closed) => server.close(closed));
  await listen(port);
  const address = server.server.address();
  const bound = typeof address === "object" && address ? address.port : 0;
  return {
    scheme,
    port: bound,
    down,
    up: () => {
      server = open();
      return listen(bound);
    },
    received,
    caFile,
    greetAfter: (ms) => {
      greetAfterMs = ms;
    },
    ponder: (ms) => {
      ponderMs = ms;
    },
    refuse: (code) => {
      refusal = code;
    },
    refuseSender: (code) => {
      senderRefusal = code;
    },
    close: async () => {
      // Bun does not always report the end of a server whose last connection was TLS.
      await Promise.race([down(), sleep(2 * CLOSE_TIMEOUT_MS)]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
