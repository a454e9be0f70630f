import { afterEach } from "bun:test";
import { openMail } from "../../src/adapters/mail.ts";
import type { MailOptions } from "../../src/adapters/smtp.ts";
import type { Mailer } from "../../src/kit/mail.ts";
import { enqueueMail, listMails } from "../../src/modules/mail/mail.ts";
import { type MailServer, mailServer, SECRET_WORD, type SmtpScheme, USER } from "./smtp.ts";
import { world } from "./world.ts";

/** Cleanups after the test, in order. */
export const closing: { close: () => unknown }[] = [];
afterEach(async () => {
  for (const one of closing.splice(0)) await one.close();
});

export const LINK = "https://accounts.example.com/reset-password?token=ot_secret";
export const ada = { id: null, email: "ada@example.com", locale: null };

/** A world that sends its mails to a real server. */
export async function smtpWorld(scheme: SmtpScheme = "smtp") {
  const here = await world({ rateLimit: "off" });
  const server = await mailServer({ scheme });
  closing.push(server);
  const ctx = { ...here.ctx, mail: await mailerFor(server, here.ctx.mail as Mailer) };
  const enqueue = (more: Partial<Parameters<typeof enqueueMail>[1]> = {}) =>
    enqueueMail(ctx, { kind: "reset_password", to: ada, link: LINK, ...more });
  const states = async () => (await listMails(ctx)).map(({ state }) => state);
  return { ...here, ctx, server, enqueue, states };
}

export async function mailerFor(
  { scheme, port, caFile }: Pick<MailServer, "scheme" | "port" | "caFile">,
  mailer: Mailer,
  {
    secret = SECRET_WORD,
    host = "localhost",
    ...options
  }: MailOptions & { secret?: string; host?: string } = {},
): Promise<Mailer> {
  const url = `${scheme}://${USER}:${encodeURIComponent(secret)}@${host}:${port}`;
  const transport = await openMail(url, { caFile, ...options });
  closing.unshift(transport);
  return { ...mailer, ...transport };
}
