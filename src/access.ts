import type { Actor } from "./ctx.ts";
import { Problem } from "./kit/problem.ts";

const isAdministrator = (actor: Actor): boolean =>
  actor.kind === "operator" || (actor.kind === "user" && actor.user.isSuperuser);

/** Throws `forbidden` unless the actor is a superuser or the operator. */
export function requireAdministrator(actor: Actor): void {
  if (!isAdministrator(actor)) throw new Problem("forbidden");
}

/** Throws `forbidden` unless the actor is this user, a superuser or the operator. */
export function requireOwnerOf(userId: string, actor: Actor): void {
  const isOwn = actor.kind === "user" && actor.user.id === userId;
  if (!isOwn) requireAdministrator(actor);
}

/** Throws `forbidden` unless the actor is the operator, on the command line or in a job. */
export function requireOperator(actor: Actor): void {
  if (actor.kind !== "operator") throw new Problem("forbidden");
}
