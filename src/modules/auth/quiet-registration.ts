import { eq } from "drizzle-orm";
import { hashPassword } from "../../credentials/password.ts";
import type { Anonymous, Ctx, User } from "../../ctx.ts";
import { lockUsers } from "../../db/locks.ts";
import { transaction } from "../../db/transaction.ts";
import { Problem } from "../../kit/problem.ts";
import { type Registration, registerAnew } from "../addresses/addresses.ts";
import { enqueueMail } from "../mail/mail.ts";
import { forgotPage, keepAttempt, sendLink, wasAttempted } from "../one-time/one-time.ts";
import { findByEmail } from "../passwords/passwords.ts";
import { users } from "../users/tables.ts";
import { createUser, identifierKeyOf, type NewUser, readNewUser } from "../users/users.ts";
import { mailUse } from "./links.ts";

/** What somebody says who registers. */
export type RegistrationInput = Omit<NewUser, "isSuperuser" | "password" | "verification"> & {
  password: string;
};

/**
 * Registers so that nobody learns who has an account: whatever is so, the password is hashed, about as many statements follow, and a
 * mail goes to the address. Throws `invalid_request`, `too_many_requests`, `busy`.
 */
export async function registerQuietly(
  ctx: Ctx,
  actor: Anonymous,
  input: RegistrationInput,
): Promise<undefined> {
  const { email, username, fullName, locale } = readNewUser(ctx, input);
  const read = { username: username?.shown, fullName, locale };
  // A mail for each, whoever asks for it; what does not fit, or finds us busy, has cost none.
  const uses = [mailUse("verify_email", email.key)];
  return ctx.limits.attempt(actor.origin, uses, async () => {
    const passwordHash = await hashPassword(ctx.hashing, input.password);
    const owner = await findByEmail(ctx, input.email);
    const attempt = { email: email.key, password: input.password };
    const said = { attempt, registration: { ...read, passwordHash } };
    // The owner may be deleted at the same time: then the email is free.
    if (owner && (await answerOwner(ctx, owner, said))) return undefined;
    try {
      const password = { hash: passwordHash };
      await createUser(ctx, actor, { ...input, password, verification: "required" });
    } catch (error) {
      // Somebody registered it in this very moment: a mail is on its way already.
      if (!(error instanceof Problem) || error.code !== "email_taken") throw error;
    }
  });
}

interface Said {
  attempt: { email: string; password: string };
  registration: Registration;
}

/**
 * To whoever did not prove the address yet the link goes again; whoever did is told that there is an account. Returns false if
 * the user is deleted by now.
 */
function answerOwner(ctx: Ctx, user: User, { attempt, registration }: Said): Promise<boolean> {
  return transaction(ctx, async (tx) => {
    if ((await lockUsers(tx.db, eq(users.id, user.id))).length === 0) return false;
    const isTheirs = await registerAnew(tx, user, registration);
    if (!isTheirs) await keepAttempt(tx, user.id, attempt);
    if (!user.isActive) return true;
    const told = { kind: "registration_attempt", to: user, link: forgotPage(ctx) } as const;
    if (user.emailVerified) await enqueueMail(tx, told);
    else await sendLink(tx, { purpose: "verify_email", user });
    return true;
  });
}

/**
 * Whether somebody has registered an account's address with this password: then a sign-in is told that the address is to be proven, as it
 * is where that registration made an account.
 */
export async function waitsForProof(
  ctx: Ctx,
  { username, password }: { username: string; password: string },
): Promise<boolean> {
  if (ctx.config.requireEmailVerification === "off") return false;
  return wasAttempted(ctx, { email: identifierKeyOf(username), password });
}
