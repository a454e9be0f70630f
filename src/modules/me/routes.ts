import { Elysia, t } from "elysia";
import type { Ctx, UserActor } from "../../ctx.ts";
import { rememberDevice } from "../../http/device.ts";
import { tagged, unlessKnown, versionsOf } from "../../http/etag.ts";
import { guard } from "../../http/guard.ts";
import { once } from "../../http/idempotency.ts";
import { readPage } from "../../http/pagination.ts";
import { bodyProblems, fails, retryProblems, tokenProblems } from "../../http/problems.ts";
import type { RequestParts } from "../../http/request-context.ts";
import { Accepted, ById } from "../../http/schemas.ts";
import { requestEmailChange } from "../emails/change.ts";
import { EmailChangeBody } from "../emails/model.ts";
import { envelopeOf } from "../events/envelope.ts";
import { countOwnEvents, listOwnEvents } from "../events/events.ts";
import { listOwnEventsAfter } from "../events/feed.ts";
import { EnvelopeView } from "../events/model.ts";
import { OwnEventQuery, readOwnEventPage } from "../events/query.ts";
import { PasswordChangeBody, ReauthenticationBody } from "../passwords/model.ts";
import { changePassword, reauthenticate } from "../passwords/passwords.ts";
import { SessionView, sessionView } from "../sessions/model.ts";
import { endSession, listSessions, logOut } from "../sessions/sessions.ts";
import { changesOf, ProfileChangesBody, UserView, userView } from "../users/model.ts";
import { deleteUser, updateUser } from "../users/users.ts";

/** Applies the changes of a request to the caller's own user. */
const changeMe = async (
  ctx: Ctx,
  actor: UserActor,
  {
    body,
    headers,
    set,
  }: Pick<RequestParts, "headers" | "set"> & { body: typeof ProfileChangesBody.static },
) => {
  const target = { id: actor.user.id, versions: versionsOf({ headers }) };
  return userView(tagged(set, await updateUser(ctx, actor, { ...target, ...changesOf(body) })));
};

/** The caller's own user. */
export const meRoutes = (ctx: Ctx) =>
  new Elysia({ name: "me", prefix: "/users/me", tags: ["users"] })
    .use(guard(ctx))
    .get("", ({ actor, headers, set }) => unlessKnown({ headers, set }, actor.user, userView), {
      user: true,
      requestHeaders: ["if-match", "if-none-match"],
      detail: {
        operationId: "getMe",
        summary: "Get your user",
        description: "The user that the access token belongs to.",
      },
      response: { 200: UserView, 304: t.Void(), ...fails(...tokenProblems, "stale") },
    })
    .put("", ({ actor, body, headers, set }) => changeMe(ctx, actor, { body, headers, set }), {
      user: ["changes"],
      requestHeaders: ["if-match"],
      detail: {
        operationId: "putMe",
        summary: "Update your user (same as PATCH)",
        description: "Does the same as PATCH: a field that is left out does not change.",
      },
      body: ProfileChangesBody,
      response: {
        200: UserView,
        ...fails(...tokenProblems, ...bodyProblems, "username_taken", "stale"),
      },
    })
    .patch("", ({ actor, body, headers, set }) => changeMe(ctx, actor, { body, headers, set }), {
      user: ["changes"],
      requestHeaders: ["if-match"],
      detail: {
        operationId: "updateMe",
        summary: "Update your user",
        description:
          "JSON Merge Patch (RFC 7396): a field that is left out does not change; null clears a field.",
      },
      body: ProfileChangesBody,
      response: {
        200: UserView,
        ...fails(...tokenProblems, ...bodyProblems, "username_taken", "stale"),
      },
    });

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
        responseHeaders: ["device-token", "set-cookie"],
        detail: {
          operationId: "changePassword",
          summary: "Change your password",
          description:
            "Ends your other sessions, with their access tokens. Other devices are no longer known devices. This one gets a new `Device-Token`.",
        },
        body: PasswordChangeBody,
        response: {
          204: t.Void(),
          ...fails(...tokenProblems, ...bodyProblems, "invalid_credentials", "busy"),
        },
      },
    )
    .delete(
      "",
      async ({ actor, body, headers, status }) => {
        await reauthenticate(ctx, actor, body?.current_password);
        await deleteUser(ctx, actor, { id: actor.user.id, versions: versionsOf({ headers }) });
        return status(204, undefined);
      },
      {
        user: ["login", "login-streak"],
        requestHeaders: ["if-match"],
        detail: {
          operationId: "deleteMe",
          summary: "Delete your user",
          description:
            "Deletes your user permanently, with all of its sessions. Requires your password, or a sign-in that is less than ten minutes old.",
        },
        body: ReauthenticationBody,
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

/** Change of the caller's email. */
export const ownEmailRoutes = (ctx: Ctx) =>
  new Elysia({ name: "own-email", prefix: "/users/me", tags: ["users"] }).use(guard(ctx)).post(
    "/email",
    async ({ actor, body, headers, set, status }) => {
      const { email, current_password: currentPassword } = body;
      await once(ctx, { actor, body, headers, set, route: "change-email" }, () =>
        requestEmailChange(ctx, actor, { email, currentPassword }),
      );
      return status(202, changeAccepted);
    },
    {
      user: ["login", "login-streak", "mail-account", "mail-address"],
      requestHeaders: ["idempotency-key"],
      detail: {
        operationId: "changeEmail",
        summary: "Change your email",
        description:
          "Mails a link to the new email. When the link is used, the new email replaces the old one. The old email, if it was verified, gets a notice with a link that undoes the change for a week. Requires your password, or a sign-in that is less than ten minutes old.",
      },
      body: EmailChangeBody,
      response: {
        202: Accepted,
        ...fails(
          ...tokenProblems,
          ...bodyProblems,
          ...retryProblems,
          "invalid_credentials",
          "reauthentication_required",
          "busy",
        ),
      },
    },
  );
const changeAccepted = {
  detail: "We sent a link to the new email. Nothing changes until the link is opened.",
};

/** The caller's own sessions. */
export const sessionRoutes = (ctx: Ctx) =>
  new Elysia({ name: "sessions", prefix: "/users/me/sessions", tags: ["sessions"] })
    .use(guard(ctx))
    .get(
      "",
      async ({ actor }) =>
        Promise.all(
          (await listSessions(ctx, actor)).map((session) => sessionView(session, actor.session.id)),
        ),
      {
        user: true,
        detail: {
          operationId: "listSessions",
          summary: "List your sessions",
          description: "Your active sessions, the most recently used first.",
        },
        response: { 200: t.Array(SessionView), ...fails(...tokenProblems) },
      },
    )
    .delete(
      "",
      async ({ actor, status }) => {
        await logOut(ctx, actor, "others");
        return status(204, undefined);
      },
      {
        user: true,
        detail: {
          operationId: "endOtherSessions",
          summary: "Sign out everywhere else",
          description: "Ends all of your sessions except this one, with their access tokens.",
        },
        response: { 204: t.Void(), ...fails(...tokenProblems) },
      },
    )
    .delete(
      "/:id",
      async ({ actor, params, status }) => {
        await endSession(ctx, actor, params.id);
        return status(204, undefined);
      },
      {
        user: true,
        detail: {
          operationId: "endSession",
          summary: "End a session",
          description: "Ends one of your sessions, with its access tokens.",
        },
        params: ById,
        response: { 204: t.Void(), ...fails(...tokenProblems, "not_found", "invalid_request") },
      },
    );

/** Events about the caller. */
export const myEventRoutes = (ctx: Ctx) =>
  new Elysia({ name: "my-events", prefix: "/users/me/events", tags: ["events"] })
    .use(guard(ctx))
    .get(
      "",
      async ({ actor, query, request, set }) => {
        const exchange = { query, request, set };
        const events = query.after
          ? await readOwnEventPage(exchange, query.after, (range) =>
              listOwnEventsAfter(ctx, actor, range),
            )
          : await readPage(exchange, {
              rows: (range) => listOwnEvents(ctx, actor, range),
              count: () => countOwnEvents(ctx, actor),
            });
        return events.map((event) => envelopeOf(ctx.config, event));
      },
      {
        user: true,
        detail: {
          operationId: "listMyEvents",
          summary: "List your events",
          description:
            'Sign-ins and changes, newest first. Those that you or an anonymous request caused include their origin. If there are more, the `Link` header has the URL of the next page (`rel="next"`, RFC 8288). With `after`, the events after that cursor, oldest first.',
        },
        query: OwnEventQuery,
        response: {
          200: t.Array(EnvelopeView),
          ...fails(...tokenProblems, "invalid_request", "cursor_expired"),
        },
      },
    );
