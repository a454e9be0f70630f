import { byScheme } from "../kit/by-scheme.ts";
import type { MailTransport } from "../kit/mail.ts";

/** How mails are signed (RFC 6376); the key is a PEM text. */
export interface Dkim {
  domainName: string;
  keySelector: string;
  privateKey: string;
}

export interface MailOptions {
  dkim?: Dkim | undefined;
  /** A PEM file: the system's authorities do where there is none. */
  caFile?: string | undefined;
  /** The host that EHLO names. */
  ehlo?: string | undefined;
}

/** Opens what MAIL_URL names. Nothing is connected before the first mail; what is not used is not even loaded. */
export const openMail = (url: string, options: MailOptions): Promise<MailTransport> => {
  const smtp = async (place: URL) => (await import("./smtp.ts")).openSmtp(place, options);
  return byScheme<MailTransport>({
    "smtp:": smtp,
    "smtps:": smtp,
    "mailbox:": async () => mailbox,
  })(url);
};

/** Mails stay in the database, where a developer reads them. */
const mailbox: MailTransport = {
  isMailbox: true,
  send: async () => "kept in the mailbox",
  close: () => {},
};
