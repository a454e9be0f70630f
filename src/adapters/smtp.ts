import { connect, isIPv4, isIPv6, type Socket } from "node:net";
import { createTransport, type SMTPTransportOptions } from "nodemailer";
import { readText } from "../config/text-file.ts";
import { MailFailure, type MailTransport } from "../kit/mail.ts";
import { timedOut } from "../kit/with-timeout.ts";
import { connectToHost } from "./connect.ts";

const CONNECTIONS_MAX = 5;
const CONNECT_MAX_MS = 5_000;
const GREETING_MAX_MS = 10_000;
const SILENCE_MAX_MS = 30_000;
const REPLY_MAX_LENGTH = 200;

export interface MailOptions {
  /** Signs messages (RFC 6376). The key is in PEM. */
  dkim?: Record<"domainName" | "keySelector" | "privateKey", string> | undefined;
  /** A PEM file of certificate authorities. The default is the system's. */
  caFile?: string | undefined;
  /** The host name in EHLO. */
  ehlo?: string | undefined;
}

/**
 * SMTP (RFC 5321). `smtps:` uses TLS from the first byte. `smtp:` uses STARTTLS if the server
 * offers it; with a password or `?tls=required`, the server must.
 */
export function openSmtp(url: URL, { dkim, caFile, ehlo }: MailOptions): MailTransport {
  const hasPassword = url.username !== "";
  const name = nameOf(ehlo);
  const isPlain = url.searchParams.get("tls") === "off";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = Number(url.port || (url.protocol === "smtps:" ? 465 : 587));
  // nodemailer would ask name servers first, even for names in /etc/hosts, and then resolve in the
  // threads that hash passwords.
  const getSocket: SMTPTransportOptions["getSocket"] = (_, done) => {
    connectToHost(host, CONNECT_MAX_MS, (ip, maxMs) => openSocket(ip, port, maxMs)).then(
      (connection) => done(null, { connection }),
      done,
    );
  };
  const transport = createTransport({
    pool: true,
    host,
    port,
    getSocket,
    secure: url.protocol === "smtps:",
    ignoreTLS: isPlain,
    requireTLS: !isPlain && (hasPassword || url.searchParams.get("tls") === "required"),
    ...(hasPassword
      ? { auth: { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) } }
      : {}),
    ...(name ? { name } : {}),
    ...(dkim ? { dkim } : {}),
    ...(caFile ? { tls: { ca: readText(caFile) } } : {}),
    maxConnections: CONNECTIONS_MAX,
    // The outbox retries.
    maxRequeues: 0,
    // nodemailer subtracts the time of the connection from the time for the greeting.
    connectionTimeout: CONNECT_MAX_MS + GREETING_MAX_MS,
    greetingTimeout: GREETING_MAX_MS,
    socketTimeout: SILENCE_MAX_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return {
    isMailbox: false,
    send: async ({ messageId, ...mail }) => {
      try {
        const { response } = await transport.sendMail({
          ...mail,
          messageId: `<${messageId}>`,
          // Prevents automatic replies such as vacation notices (RFC 3834).
          headers: { "auto-submitted": "auto-generated" },
        });
        return shown(response);
      } catch (error) {
        throw failureOf(error as SmtpError);
      }
    },
    close: () => transport.close(),
  };
}

/** `maxMs`: until it is connected. */
function openSocket(host: string, port: number, maxMs: number): Promise<Socket> {
  const socket = connect({ host, port });
  const timer = setTimeout(() => socket.destroy(timedOut()), maxMs);
  return new Promise<Socket>((resolve, reject) => {
    socket.once("connect", () => resolve(socket)).once("error", reject);
  }).finally(() => clearTimeout(timer));
}

/**
 * The name in EHLO (RFC 5321, section 4.1.1.1). IPs are in brackets. Undefined for a local name,
 * because spam filters penalize it: then nodemailer uses the host name of this machine.
 */
function nameOf(host = ""): string | undefined {
  const ip = host.replace(/^\[(?:IPv6:)?|\]$/gi, "");
  if (isIPv6(ip)) return `[IPv6:${ip}]`;
  if (isIPv4(ip)) return `[${ip}]`;
  return host.includes(".") ? host : undefined;
}

interface SmtpError extends Error {
  code?: string;
  command?: string;
  responseCode?: number;
}

/** `unavailable` if the server refused the connection or the sender: the next message fails too. */
function failureOf({ code = "", command = "", responseCode = 0, message }: SmtpError): MailFailure {
  const reply = shown(`${code} ${message}`);
  // All messages have the same sender: MAIL_FROM is wrong, or the server needs a password.
  const isAboutUs = command.startsWith("MAIL FROM");
  const isAboutMail = ["RCPT TO", "DATA"].some((one) => command.startsWith(one));
  if (isAboutUs || (!isAboutMail && code !== "EENVELOPE" && code !== "EMESSAGE"))
    return new MailFailure("unavailable", reply);
  return new MailFailure(responseCode >= 500 ? "rejected" : "deferred", reply);
}

/** On one line and without emails, because it is stored and shown to operators. */
const shown = (text: string) =>
  text
    .replaceAll(/[^\s<>"]+@[^\s<>"]+/g, "…")
    .replaceAll(/\s+/g, " ")
    .trim()
    .slice(0, REPLY_MAX_LENGTH);
