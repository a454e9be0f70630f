import type { Ctx } from "../ctx.ts";
import { Exit, misconfigured } from "../kit/exit.ts";
import { type Mailer, MailFailure } from "../kit/mail.ts";
import { readEmail } from "../kit/names.ts";
import { enqueueMail, listMails, type QueuedMail, retryMails } from "../modules/mail/mail.ts";
import { type JsonFlag, printList } from "../terminal.ts";
import { changeDatabase, readDatabase } from "./with-database.ts";

export const list = ({ json: isJson }: JsonFlag) =>
  readDatabase(async (ctx) =>
    printList(await listMails(ctx), isJson, {
      json: viewOf,
      text: ({ id, createdAt, state, kind, recipient, answer }) =>
        `${id}  ${createdAt.toISOString()}  ${state.padEnd(7)}  ${kind}  ${recipient}${answer ? `  ${answer}` : ""}`,
      empty: "There is no mail.",
    }),
  );

export const retry = ({ json: isJson }: JsonFlag, id?: string) =>
  changeDatabase(isJson, async (ctx) => {
    const retried = await retryMails(ctx, id);
    const mails = retried === 1 ? "1 mail" : `${retried} mails`;
    const when = ctx.mail ? "a running server sends them now" : "they wait until MAIL_URL is set";
    return {
      json: { retried },
      text: retried === 0 ? "There is no mail to retry." : `${mails}: ${when}.`,
      isUnchanged: retried === 0,
    };
  });

/** Sends a test mail without the outbox. With `mailbox:`, puts it into the mailbox. */
export const test = ({ json: isJson }: JsonFlag, address: string) =>
  changeDatabase(isJson, async (ctx) => {
    const email = readEmail(address);
    if (!("shown" in email)) throw new Exit("usage", `The email ${email.detail}.`);
    const { shown } = email;
    const { publicUrl } = ctx.config;
    const mailer = mailerOf(ctx);
    if (!mailer.isMailbox) {
      const answer = await sendTest(mailer, shown, publicUrl);
      return { json: { to: shown, answer }, text: `${shown}: ${answer}`, isUnchanged: true };
    }
    const to = { id: null, email: shown, locale: null };
    if (!(await enqueueMail(ctx, { kind: "test", to, link: publicUrl })))
      throw new Exit(
        "failed",
        "The limit mail-recipient is used up for this email. Try again in an hour.",
      );
    const mailbox = `${publicUrl}/dev/mailbox`;
    return { json: { to: shown, mailbox }, text: `${shown}: see ${mailbox}` };
  });

function mailerOf({ mail }: Ctx): Mailer {
  if (mail) return mail;
  throw misconfigured("MAIL_URL is not set, so mails wait. Set it and try again.");
}

async function sendTest(mailer: Mailer, to: string, link: string): Promise<string> {
  const messageId = `${Bun.randomUUIDv7()}@${mailer.from.address.split("@")[1]}`;
  try {
    return await mailer.send({
      ...(await mailer.render("test", null, { link })),
      messageId,
      from: mailer.from,
      to,
    });
  } catch (error) {
    if (!(error instanceof MailFailure)) throw error;
    throw new Exit(
      error.kind === "unavailable" ? "unavailable" : "failed",
      `The mail server did not accept the mail: ${error.message}`,
    );
  }
}

const viewOf = ({ id, kind, recipient, state, tries, answer, ...times }: QueuedMail) => ({
  id,
  kind,
  recipient,
  state,
  tries,
  answer,
  created_at: times.createdAt.toISOString(),
  due_at: state === "waiting" ? times.dueAt.toISOString() : null,
  ended_at: times.endedAt?.toISOString() ?? null,
});
