import type { MailTransport } from "../kit/mail.ts";
import type { MailOptions } from "./smtp.ts";

/** Opens the transport of MAIL_URL. Connects at the first message. Loads only what it uses. */
export async function openMail(text: string, options: MailOptions): Promise<MailTransport> {
  const url = new URL(text);
  if (url.protocol === "mailbox:") return mailbox;
  const { openSmtp } = await import("./smtp.ts");
  return openSmtp(url, options);
}

/** Messages stay in the database, where a developer reads them. */
const mailbox: MailTransport = {
  isMailbox: true,
  send: async () => "kept in the mailbox",
  close: () => {},
};
