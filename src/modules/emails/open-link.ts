import type { Anonymous, Ctx, User } from "../../ctx.ts";
import { Problem } from "../../kit/problem.ts";
import { usesOf } from "../../limits/policies.ts";
import { getLink, type Link, type Purpose } from "../links/links.ts";
import { findUser } from "../users/users.ts";

/**
 * Finds a link and its user without spending the link. Each call consumes a limit, because tokens
 * can be made up. Throws `invalid_link`, `too_many_requests`.
 */
export async function openLink(
  ctx: Ctx,
  { origin }: Anonymous,
  { purposes, token }: { purposes: readonly Purpose[]; token: string },
): Promise<{ link: Link; user: User }> {
  await ctx.limits.consume(origin, usesOf("requests-anonymous", origin));
  const link = await getLink(ctx, purposes, token);
  const user = await findUser(ctx, link.userId);
  if (!user) throw new Problem("invalid_link");
  return { link, user };
}
