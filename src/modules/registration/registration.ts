import { eq } from "drizzle-orm";
import { hashPassword } from "../../credentials/password.ts";
import type { Anonymous, Ctx, User } from "../../ctx.ts";
import { lockUsers } from "../../db/locks.ts";
import { transaction } from "../../db/transaction.ts";
import { Problem } from "../../kit/problem.ts";
import { mailUse, usesOf } from "../../limits/policies.ts";
import { type Registration, registerAnew } from "../addresses/addresses.ts";
import { forgotPage, keepAttempt, sendLink, wasAttempted } from "../links/links.ts";
import { enqueueMail } from "../mail/mail.ts";
import { findByEmail } from "../passwords/passwords.ts";
import { users } from "../users/tables.ts";
import { createUser, identifierKeyOf, type NewUser, readNewUser } from "../users/users.ts";

/** The fields of a registration. */
export type RegistrationInput = Omit<NewUser, "isSuperuser" | "password" | "verification"> & {
  password: string;
};

/**
 * Registers a user. If emails must be verified first (`REQUIRE_EMAIL_VERIFICATION`), it returns
 * undefined whether or not a user has the email, and takes the same time (CWE-204, CWE-208). A mail
 * to that email says which. Throws `registration_closed`, `too_many_requests`, and what
 * `createUser` throws.
 */
export async function register(
  ctx: Ctx,
  actor: Anonymous,
  input: RegistrationInput,
): Promise<User | undefined> {
  if (ctx.config.registration === "closed") throw new Problem("registration_closed");
  ctx.hashing.refuseIfFull();
  const isQuiet = ctx.config.requireEmailVerification === "on";
  return ctx.limits.attempt(actor.origin, usesOf("register", actor.origin), () =>
    isQuiet
      ? registerQuietly(ctx, actor, input)
      : createUser(ctx, actor, { ...input, verification: "asked" }),
  );
}

/**
 * Registers without revealing whether a user has the email (CWE-204, CWE-208). In every case the
 * password is hashed, about as many statements run, and a mail is sent to the email. Throws
 * `invalid_request`, `too_many_requests`, `busy`.
 */
async function registerQuietly(
  ctx: Ctx,
  actor: Anonymous,
  input: RegistrationInput,
): Promise<undefined> {
  const { email, username, fullName, locale } = readNewUser(ctx, input);
  const read = { username: username?.shown, fullName, locale };
  // Each registration sends a mail, so it counts as one. It is refunded if the server is busy.
  const uses = [mailUse("verify_email", email.key)];
  return ctx.limits.attempt(actor.origin, uses, async () => {
    const passwordHash = await hashPassword(ctx.hashing, input.password);
    const existing = await findByEmail(ctx, input.email);
    const attempt = { email: email.key, password: input.password };
    const submitted = { attempt, registration: { ...read, passwordHash } };
    // The user may be deleted concurrently: then the email is free.
    if (existing && (await answerExisting(ctx, existing, submitted))) return undefined;
    try {
      const password = { hash: passwordHash };
      await createUser(ctx, actor, { ...input, password, verification: "required" });
    } catch (error) {
      // A concurrent registration won: its mail is already queued.
      if (!(error instanceof Problem) || error.code !== "email_taken") throw error;
    }
  });
}

interface Submitted {
  attempt: { email: string; password: string };
  registration: Registration;
}

/**
 * Mails the verification link again if the email is unverified. Otherwise mails a notice that the
 * user exists. Returns false if the user was deleted meanwhile.
 */
function answerExisting(
  ctx: Ctx,
  user: User,
  { attempt, registration }: Submitted,
): Promise<boolean> {
  return transaction(ctx, async (tx) => {
    if ((await lockUsers(tx.db, eq(users.id, user.id))).length === 0) return false;
    const isReplaced = await registerAnew(tx, user, registration);
    if (!isReplaced) await keepAttempt(tx, user.id, attempt);
    if (!user.isActive) return true;
    const notice = { kind: "registration_attempt", to: user, link: forgotPage(ctx) } as const;
    if (user.emailVerified) await enqueueMail(tx, notice);
    else await sendLink(tx, { purpose: "verify_email", user });
    return true;
  });
}

/**
 * Whether an existing user's email was registered again with this password. Then a sign-in gets
 * `email_not_verified`, as it does if that registration created a user.
 */
export async function isPendingRegistration(
  ctx: Ctx,
  { username, password }: { username: string; password: string },
): Promise<boolean> {
  if (ctx.config.requireEmailVerification === "off") return false;
  return wasAttempted(ctx, { email: identifierKeyOf(username), password });
}
