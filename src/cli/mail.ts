import type { Config } from "../config.ts";
import type { Ctx } from "../ctx.ts";
import { Exit } from "../kit/exit.ts";
import { MailFailure, type Post } from "../kit/mail.ts";
import { readEmail } from "../kit/names.ts";
import { enqueueMail, type Letter, listMails, retryMails } from "../modules/mail/mail.ts";
import { print, type Typed } from "./terminal.ts";
import { withDatabase } from "./with-database.ts";

export const list = (config: Config, { flags }: Typed) =>
  withDatabase(config, async (ctx) => {
    const mails = await listMails(ctx);
    if (flags["json"]) return print(JSON.stringify(mails.map(viewOf)));
    if (mails.length === 0) print("There is no mail.");
    for (const { id, createdAt, state, kind, recipient, answer } of mails)
      print(
        `${id}  ${createdAt.toISOString()}  ${state.padEnd(7)}  ${kind}  ${recipient}${answer ? `  ${answer}` : ""}`,
      );
  });

export const retry = (config: Config, { words: [id] }: Typed) =>
  withDatabase(config, async (ctx) => {
    const retried = await retryMails(ctx, id);
    const mails = retried === 1 ? "1 mail" : `${retried} mails`;
    const when = ctx.mail ? "tried again by the server" : "to be tried again once MAIL_URL is set";
    print(`${mails}: ${when}.`);
  });

/** Sends one at once, past the queue, and says what the server answered; or puts one into the mailbox. */
export const test = (config: Config, { words: [address = ""] }: Typed) =>
  withDatabase(config, async (ctx) => {
    const email = readEmail(address);
    if (!("shown" in email)) throw new Exit("usage", `${address} ${email.detail}.`);
    const post = postOf(ctx);
    if (!post.isMailbox)
      return print(`${email.shown}: ${await sendTest(post, email.shown, config.publicUrl)}`);
    const to = { id: null, email: email.shown, locale: null };
    if (!(await enqueueMail(ctx, { kind: "test", to, link: config.publicUrl })))
      throw new Exit(
        "failed",
        "The limit mail-recipient is used up for this email. Try again in an hour.",
      );
    print(`${email.shown}: see ${config.publicUrl}/dev/mailbox`);
  });

function postOf({ mail }: Ctx): Post {
  if (mail) return mail;
  throw new Exit("badConfiguration", "MAIL_URL is not set: mails wait until it is.");
}

async function sendTest(post: Post, to: string, link: string): Promise<string> {
  const messageId = `${Bun.randomUUIDv7()}@${post.from.address.split("@")[1]}`;
  try {
    return await post.send({
      ...(await post.render("test", null, { link })),
      messageId,
      from: post.from,
      to,
    });
  } catch (error) {
    if (!(error instanceof MailFailure)) throw error;
    throw new Exit(
      error.kind === "away" ? "unavailable" : "failed",
      `The mail server did not take it: ${error.message}`,
    );
  }
}

const viewOf = ({ id, kind, recipient, state, tries, answer, ...times }: Letter) => ({
  ...{ id, kind, recipient, state, tries, answer },
  created_at: times.createdAt.toISOString(),
  due_at: state === "waiting" ? times.dueAt.toISOString() : null,
  ended_at: times.endedAt?.toISOString() ?? null,
});
