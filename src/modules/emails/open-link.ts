import type { Anonymous, Ctx, User } from "../../ctx.ts";
import { Problem } from "../../kit/problem.ts";
import { usesOf } from "../../limits/policies.ts";
import { getLink, type Link } from "../links/links.ts";
import type { Purpose } from "../links/purposes.ts";
import { findLinkedRegistration, type Registration } from "../registration/registration.ts";
import { findUser } from "../users/users.ts";

interface UserLink {
  link: Link;
  user: User;
  registration?: undefined;
}

interface PresentedLink {
  purposes: readonly Purpose[];
  token: string;
}

/**
 * Finds a link, and its user or registration, without spending it. Consumes a limit, because tokens
 * can be made up. Throws `invalid_link`, `too_many_requests`.
 */
export async function openLink(
  ctx: Ctx,
  { origin }: Anonymous,
  { purposes, token }: PresentedLink,
): Promise<UserLink | { registration: Registration }> {
  await ctx.limits.consume(origin, usesOf("requests-anonymous", origin));
  const registration = await findLinkedRegistration(ctx, purposes, token);
  if (registration) return { registration };
  const link = await getLink(ctx, purposes, token);
  const user = await findUser(ctx, link.userId);
  if (!user) throw new Problem("invalid_link");
  return { link, user };
}

/** Like `openLink`, for links that only users get. */
export async function openUserLink(
  ctx: Ctx,
  actor: Anonymous,
  presented: PresentedLink,
): Promise<UserLink> {
  const found = await openLink(ctx, actor, presented);
  if (found.registration) throw new Problem("invalid_link");
  return found;
}
