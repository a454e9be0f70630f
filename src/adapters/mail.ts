import { byScheme } from "../kit/by-scheme.ts";
import type { MailTransport } from "../kit/mail.ts";
import type { MailOptions } from "./smtp.ts";

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
