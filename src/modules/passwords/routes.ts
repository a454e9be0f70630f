import { Elysia, t } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { rememberDevice } from "../../http/device.ts";
import { versionsOf } from "../../http/etag.ts";
import { guard } from "../../http/guard.ts";
import { bodyProblems, fails, tokenProblems } from "../../http/problems.ts";
import { deleteUser } from "../users/users.ts";
import { Confirmation, PasswordChange } from "./model.ts";
import { changePassword, confirm } from "./passwords.ts";

/** Actions on the caller's own user that require recent authentication. */
export const ownAccountRoutes = (ctx: Ctx) =>
  new Elysia({ name: "own-account", prefix: "/users/me", tags: ["users"] })
    .use(guard(ctx))
    .put(
      "/password",
      async ({ actor, body, headers, set, status }) => {
        const { current_password: currentPassword, new_password: newPassword } = body;
        const token = await changePassword(ctx, actor, { currentPassword, newPassword });
        rememberDevice(ctx, { headers, set }, token);
        return status(204, undefined);
      },
      {
        user: ["login", "login-streak", "changes"],
        answers: ["device-token", "set-cookie"],
        detail: {
          operationId: "changePassword",
          summary: "Change your password",
          description:
            "Ends your other sessions, with their access tokens. Other devices are no longer known devices. This one gets a new `Device-Token`.",
        },
        body: PasswordChange,
        response: {
          204: t.Void(),
          ...fails(...tokenProblems, ...bodyProblems, "invalid_credentials", "busy"),
        },
      },
    )
    .delete(
      "",
      async ({ actor, body, headers, status }) => {
        await confirm(ctx, actor, body?.current_password);
        await deleteUser(ctx, actor, { id: actor.user.id, versions: versionsOf({ headers }) });
        return status(204, undefined);
      },
      {
        user: ["login", "login-streak"],
        reads: ["if-match"],
        detail: {
          operationId: "deleteMe",
          summary: "Delete your user",
          description:
            "Deletes your user permanently, with all of its sessions. Requires your password, or a sign-in that is less than ten minutes old.",
        },
        body: Confirmation,
        response: {
          204: t.Void(),
          ...fails(
            ...tokenProblems,
            ...bodyProblems,
            "invalid_credentials",
            "reauthentication_required",
            "last_superuser",
            "stale",
            "busy",
          ),
        },
      },
    );
