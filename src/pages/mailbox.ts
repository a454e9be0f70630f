import type { Config } from "../config/config.ts";
import { escaped } from "../kit/html.ts";
import type { RenderedMail } from "../kit/mail.ts";
import { isLocalHost, isLoopback } from "../kit/network.ts";
import type { QueuedMail, readMails } from "../modules/mail/mail.ts";
import { page } from "./page.ts";

/** Headers that proxies add to a request. */
const FORWARDING = /^(?:forwarded|via|x-real-ip|x-forwarded-.+)$/;

/** True for a program on this machine. False if a proxy on it forwarded the request. */
export function isFromThisMachine(
  { publicUrl, clientAddressHeader }: Config,
  { headers }: Request,
  peer: string | undefined,
): boolean {
  const host = headers.get("host") ?? "";
  const name = host.replace(/:\d+$/, "").toLowerCase();
  const isProxied = [...headers.keys()].some(
    (header) => FORWARDING.test(header) || header === clientAddressHeader,
  );
  return (
    peer !== undefined &&
    isLoopback(peer) &&
    !isProxied &&
    (isLocalHost(host) || name === new URL(publicUrl).hostname)
  );
}

const rowOf = ({ id, recipient, kind, createdAt, state }: QueuedMail) =>
  `<li><a href="/dev/mailbox/${id}">${escaped(kind.replaceAll("_", " "))}</a> to ${escaped(recipient)}<br><span class="code">${createdAt.toISOString()} · ${escaped(state)}</span></li>`;

export const mailboxPage = (mails: QueuedMail[]): string =>
  page(
    "Mailbox",
    `<h1>Mailbox</h1><p>The mails of this development server. None of them leaves this machine.</p>${
      mails.length === 0 ? "<p>No mails yet.</p>" : `<ul>${mails.map(rowOf).join("")}</ul>`
    }`,
  );

/** A mail as JSON, with the link, token or code that a test needs. */
export const mailView = ({
  queued,
  content,
  rendered,
}: Awaited<ReturnType<typeof readMails>>[number]) => ({
  id: queued.id,
  kind: queued.kind,
  to: queued.recipient,
  subject: rendered.subject,
  link: content.link ?? null,
  token: content.link ? new URL(content.link).searchParams.get("token") : null,
  code: content.code ?? null,
  text: rendered.text,
  state: queued.state,
  created_at: queued.createdAt.toISOString(),
});

const linked = (text: string) =>
  escaped(text).replaceAll(
    /https?:&#47;&#47;\S+|https?:\/\/\S+/g,
    (url) => `<a href="${url}">${url}</a>`,
  );

export const mailPage = (
  { id, recipient, createdAt, state, answer }: QueuedMail,
  { subject, text }: RenderedMail,
): string =>
  page(
    subject,
    `<p class="code"><a href="/dev/mailbox">Mailbox</a> · ${createdAt.toISOString()} · ${escaped(state)}${answer ? ` · ${escaped(answer)}` : ""}</p>
<h1>${escaped(subject)}</h1><p>To ${escaped(recipient)}</p><pre>${linked(text)}</pre>
<p><a href="/dev/mailbox/${id}/html">As HTML</a> · <a href="/dev/mailbox/${id}/source">Source</a></p>`,
  );

/** The HTML of a mail has inline styles and external images. */
export const mailHeaders = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy":
    "default-src 'none'; img-src https: data:; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
};

export const sourceOf = (
  { id, recipient }: QueuedMail,
  { subject, text, html }: RenderedMail,
): string => `Message-ID: <${id}@…>\nTo: ${recipient}\nSubject: ${subject}\n\n${text}\n\n${html}`;
