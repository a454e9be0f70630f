import { byScheme } from "../kit/by-scheme.ts";
import type { MailTransport } from "../kit/mail.ts";

/** DKIM signatures of messages (RFC 6376). The key is in PEM. */
export interface Dkim {
  domainName: string;
  keySelector: string;
  privateKey: string;
}

export interface MailOptions {
  dkim?: Dkim | undefined;
  /** A PEM file of certificate authorities. The default is the system's. */
  caFile?: string | undefined;
  /** The host name in EHLO. */
  ehlo?: string | undefined;
}

/** Opens the transport of MAIL_URL. Connects at the first message. Loads only what it uses. */
export const openMail = (url: string, options: MailOptions): Promise<MailTransport> => {
  const smtp = async (server: URL) => (await import("./smtp.ts")).openSmtp(server, options);
  return byScheme<MailTransport>({
    "smtp:": smtp,
    "smtps:": smtp,
    "mailbox:": async () => mailbox,
  })(url);
};

/** Messages stay in the database, where a developer reads them. */
const mailbox: MailTransport = {
  isMailbox: true,
  send: async () => "kept in the mailbox",
  close: () => {},
};
