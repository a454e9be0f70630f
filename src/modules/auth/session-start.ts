import type { Anonymous, Ctx, User } from "../../ctx.ts";
import { deviceOf } from "../../kit/user-agent.ts";
import { compareWithEarlier, eventsKeptFrom } from "../events/events.ts";
import { enqueueMail } from "../mail/mail.ts";
import { forgotPage } from "../one-time/one-time.ts";
import { type Continuation, startSession } from "../sessions/sessions.ts";
import type { KnownDevice } from "./attempt.ts";

/**
 * Starts a session in the caller's transaction, for somebody who has just proved who they are. Where the client is not known by
 * a device token, and nobody has signed in to the account from there before, its owner is told; not at an address that was never
 * proven, which may be a stranger's.
 */
export async function beginSession(
  ctx: Ctx,
  actor: Anonymous,
  { user, device }: { user: User; device: KnownDevice | undefined },
): Promise<Continuation> {
  if (!device && user.emailVerified) await tellOfNewDevice(ctx, actor, user);
  return startSession(ctx, actor, user.id);
}

async function tellOfNewDevice(ctx: Ctx, actor: Anonymous, user: User): Promise<void> {
  const { id: subjectId, devicesKnownSince: since } = user;
  const about = { type: "session.started", subjectId, since } as const;
  const { isFirst, isFromThere } = await compareWithEarlier(ctx, actor, about);
  // An old account without events had them purged: its next sign-in is not known to be the first.
  const isNew = user.createdAt > eventsKeptFrom(ctx);
  if ((isFirst && isNew) || isFromThere) return;
  const details = {
    device: (await deviceOf(actor.origin?.userAgent ?? null)) ?? UNTOLD,
    address: actor.origin?.address ?? UNTOLD,
    time: `${ctx.now().toISOString().slice(0, 16).replace("T", " ")} UTC`,
  };
  await enqueueMail(ctx, { kind: "new_device", to: user, link: forgotPage(ctx), details });
}
const UNTOLD = "?";
