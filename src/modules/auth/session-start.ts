import type { Anonymous, Ctx, User } from "../../ctx.ts";
import { deviceOf } from "../../kit/user-agent.ts";
import { compareWithEarlier, eventsKeptFrom } from "../events/events.ts";
import { enqueueMail } from "../mail/mail.ts";
import { forgotPage } from "../one-time/one-time.ts";
import { type SessionGrant, startSession } from "../sessions/sessions.ts";
import type { KnownDevice } from "./attempt.ts";

/**
 * Starts a session for a user who has just authenticated, in the caller's transaction. Notifies the
 * user by mail if the client is not a known device and nobody signed in from the same IP and user
 * agent before. The first sign-in of a new user sends no mail. An unverified email gets none
 * either, because it may belong to another person.
 */
export async function beginSession(
  ctx: Ctx,
  actor: Anonymous,
  { user, device }: { user: User; device: KnownDevice | undefined },
): Promise<SessionGrant> {
  if (!device && user.emailVerified) await notifyOfNewDevice(ctx, actor, user);
  return startSession(ctx, actor, user.id);
}

async function notifyOfNewDevice(ctx: Ctx, actor: Anonymous, user: User): Promise<void> {
  const { id: subjectId, devicesKnownSince: since } = user;
  const event = { type: "session.started", subjectId, since } as const;
  const { isFirst, isFromThere } = await compareWithEarlier(ctx, actor, event);
  // The events of an old user may have been purged: then this may not be the first sign-in.
  const isNew = user.createdAt > eventsKeptFrom(ctx);
  if ((isFirst && isNew) || isFromThere) return;
  const details = {
    device: (await deviceOf(actor.origin?.userAgent ?? null)) ?? UNKNOWN,
    address: actor.origin?.ip ?? UNKNOWN,
    time: `${ctx.now().toISOString().slice(0, 16).replace("T", " ")} UTC`,
  };
  await enqueueMail(ctx, { kind: "new_device", to: user, link: forgotPage(ctx), details });
}
const UNKNOWN = "?";
