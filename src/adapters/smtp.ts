import { isIPv4, isIPv6 } from "node:net";
import { createTransport } from "nodemailer";
import { readText } from "../config/text-file.ts";
import { MailFailure, type MailTransport } from "../kit/mail.ts";
import type { MailOptions } from "./mail.ts";

const CONNECTIONS_MAX = 5;
const CONNECT_MAX_MS = 5_000;
const GREETING_MAX_MS = 10_000;
const SILENCE_MAX_MS = 30_000;
const ANSWER_MAX_LENGTH = 200;

/**
 * Mail by SMTP (RFC 5321), over a few connections that stay open. `smtps:` speaks TLS from the first byte, `smtp:` by STARTTLS
 * where the server offers it; with a password, or `?tls=required`, it must. Certificates are verified.
 */
export function openSmtp(url: URL, { dkim, caFile, ehlo }: MailOptions): MailTransport {
  const hasPassword = url.username !== "";
  const name = nameOf(ehlo);
  const isPlain = url.searchParams.get("tls") === "off";
  const transport = createTransport({
    pool: true,
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: Number(url.port || (url.protocol === "smtps:" ? 465 : 587)),
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
    // Our own queue tries again.
    maxRequeues: 0,
    connectionTimeout: CONNECT_MAX_MS,
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
          // Nobody's holiday message answers it (RFC 3834).
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

/**
 * What EHLO says (RFC 5321, section 4.1.1.1): addresses stand in brackets. Servers count a local name against a sender;
 * undefined: the name of this machine.
 */
function nameOf(host = ""): string | undefined {
  const address = host.replace(/^\[(?:IPv6:)?|\]$/gi, "");
  if (isIPv6(address)) return `[IPv6:${address}]`;
  if (isIPv4(address)) return `[${address}]`;
  return host.includes(".") ? host : undefined;
}

interface SmtpError extends Error {
  code?: string;
  command?: string;
  responseCode?: number;
}

/** Where it was not the mail that the server refused, but us or the connection, the next one fares no better. */
function failureOf({ code = "", command = "", responseCode = 0, message }: SmtpError): MailFailure {
  const answer = shown(`${code} ${message}`);
  // A sender that is refused is the same for all mails: a wrong MAIL_FROM, or a server that wants a password.
  const isAboutUs = command.startsWith("MAIL FROM");
  const isAboutMail = ["RCPT TO", "DATA"].some((one) => command.startsWith(one));
  if (isAboutUs || (!isAboutMail && code !== "EENVELOPE" && code !== "EMESSAGE"))
    return new MailFailure("away", answer);
  return new MailFailure(responseCode >= 500 ? "refused" : "later", answer);
}

/** On one line, and without addresses: what a server answers is shown to whoever runs Bunker, and kept. */
const shown = (text: string) =>
  text
    .replaceAll(/[^\s<>"]+@[^\s<>"]+/g, "…")
    .replaceAll(/\s+/g, " ")
    .slice(0, ANSWER_MAX_LENGTH);
