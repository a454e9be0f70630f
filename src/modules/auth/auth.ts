import type { Actor, Ctx, SignedIn, User } from "../../ctx.ts";
import { verifyPassword } from "../../kit/password.ts";
import { Problem } from "../../kit/problem.ts";
import { createUser, findCredentials, findUser, type NewUser } from "../users/users.ts";

/** The answer to a sign-in (RFC 6749, section 5.1). `expires_in` is in seconds. */
export interface Token {
  access_token: string;
  token_type: "bearer";
  expires_in: number;
}

/** Makes an account for whoever comes. Throws `registration_closed`, and what `createUser` throws. */
export async function register(
  ctx: Pick<Ctx, "config" | "db" | "now">,
  actor: Actor,
  input: Omit<NewUser, "isSuperuser">,
): Promise<User> {
  if (ctx.config.registration === "closed") throw new Problem("registration_closed");
  return createUser(ctx, actor, input);
}

/**
 * Signs somebody in by e-mail address or username. Throws `invalid_credentials`, alike and after the same time for an
 * unknown name and a wrong password; only who knows the password learns that the account is off (`account_inactive`).
 */
export async function logIn(
  ctx: Pick<Ctx, "db" | "now" | "tokens">,
  input: { username: string; password: string },
): Promise<Token> {
  const found = await findCredentials(ctx, input.username);
  if (!(await verifyPassword(input.password, found?.passwordHash)) || !found)
    throw new Problem("invalid_credentials");
  if (!found.isActive) throw new Problem("account_inactive");
  return {
    access_token: await ctx.tokens.sign(found.id, ctx.now()),
    token_type: "bearer",
    expires_in: ctx.tokens.lifetimeSeconds,
  };
}

/** Who holds this access token: an active account, as it is at this moment. */
export async function findActor(
  ctx: Pick<Ctx, "db" | "now" | "tokens">,
  token: string,
): Promise<SignedIn | undefined> {
  const claims = ctx.tokens.verify(token, ctx.now());
  const user = claims && (await findUser(ctx, claims.sub));
  return user?.isActive ? { kind: "user", user } : undefined;
}
