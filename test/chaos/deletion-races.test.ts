import { expect, test } from "bun:test";
import type { User } from "../../src/ctx.ts";
import { USER_REFERENCE } from "../../src/db/transaction.ts";
import { answerLinkRequests } from "../../src/modules/emails/requests.ts";
import { purgeLinks } from "../../src/modules/links/links.ts";
import { deliverMails, purgeMails } from "../../src/modules/mail/mail.ts";
import { setPassword } from "../../src/modules/passwords/passwords.ts";
import { register } from "../../src/modules/registration/registration.ts";
import { purgeSessions } from "../../src/modules/sessions/sessions.ts";
import { deleteUser, findUser, updateUser } from "../../src/modules/users/users.ts";
import { mailWorld, NEW } from "../support/mail-world.ts";
import { PASSWORD } from "../support/world.ts";

const operator = { kind: "operator" } as const;
const JSON_TYPE = { "content-type": "application/json" };
const FORM_TYPE = { "content-type": "application/x-www-form-urlencoded" };
const EMAIL = "ada@example.com";
/** Nothing listens there. */
const WEBHOOK = { url: "http://127.0.0.1:65000/", events: ["user.created"] };

/** A user with everything that a write can refer to, and a superuser. */
async function deletionWorld() {
  const here = await mailWorld({
    emailSignIn: "on",
    oauthPasswordGrant: "on",
    webhooksAllowPrivate: true,
  });
  const root = await here.superuser();
  const ada = await here.verifiedUser("before@example.com");
  await ada.post("/users/me/email", { email: EMAIL });
  const token = await here.tokenFor(EMAIL, "change_email");
  await here.verify({ token }, ada.token);
  await here.forgot(EMAIL);
  await here.anonymous.post("/auth/email-code", { email: EMAIL });
  await ada.post("/users/me/email", { email: "next@example.com" });
  const [undo, reset, signIn, change] = [
    await here.tokenFor("before@example.com", "email_changed"),
    await here.tokenFor(EMAIL, "reset_password"),
    await here.tokenFor(EMAIL, "sign_in"),
    await here.tokenFor("next@example.com", "change_email"),
  ];
  const code = await here.codeFor(EMAIL);
  const { body: sessions } = await ada.get("/users/me/sessions");
  const sessionId = String(sessions[0].id);
  const { body: webhook } = await root.post("/webhooks", { ...WEBHOOK, enabled: false });
  const webhookId = String(webhook.id);
  return { ...here, root, ada, undo, reset, signIn, change, code, sessionId, webhookId };
}
type Scene = Awaited<ReturnType<typeof deletionWorld>>;
type Write = (deletionWorld: Scene) => { path?: string; token?: string; body?: object };

const byAda =
  (body: object = {}): Write =>
  ({ ada }) => ({ token: ada.token, body });
const byRoot =
  (body?: object, rest = ""): Write =>
  ({ root, ada }) => ({
    token: root.token,
    path: `/api/v1/users/${ada.id}${rest}`,
    ...(body ? { body } : {}),
  });
/** By Ada, whom the test makes a superuser first. */
const onWebhook =
  (rest = "", body?: object): Write =>
  ({ ada, webhookId }) => ({
    token: ada.token,
    path: `/api/v1/webhooks/${webhookId}${rest}`,
    ...(body ? { body } : {}),
  });
const credentials = { username: EMAIL, password: PASSWORD };

/** Every route that writes, and what to send to it. A new route must be listed here. */
const writes: Record<string, Write> = {
  "POST /api/v1/auth/register": () => ({ body: { email: EMAIL, password: PASSWORD } }),
  "POST /api/v1/auth/login": () => ({ body: credentials }),
  "POST /api/v1/auth/refresh": ({ ada }) => ({ body: { refresh_token: ada.refreshToken } }),
  "POST /api/v1/auth/logout": byAda({ scope: "all" }),
  "POST /api/v1/auth/email/verify": ({ change, ada }) => ({
    token: ada.token,
    body: { token: change },
  }),
  "POST /api/v1/auth/email/verify/resend": () => ({ body: { email: EMAIL } }),
  "POST /api/v1/auth/password/forgot": () => ({ body: { email: EMAIL } }),
  "POST /api/v1/auth/password/reset": ({ reset }) => ({ body: { token: reset, password: NEW } }),
  "POST /api/v1/auth/email-code": () => ({ body: { email: EMAIL } }),
  "POST /api/v1/auth/email-code/verify": ({ code }) => ({ body: { email: EMAIL, code } }),
  "PUT /api/v1/users/me": byAda({ full_name: "Ada King" }),
  "PATCH /api/v1/users/me": byAda({ full_name: "Ada King" }),
  "DELETE /api/v1/users/me": byAda(),
  "PUT /api/v1/users/me/password": byAda({ current_password: PASSWORD, new_password: NEW }),
  "POST /api/v1/users/me/email": byAda({ email: "other@example.com" }),
  "DELETE /api/v1/users/me/sessions": ({ ada }) => ({ token: ada.token }),
  "DELETE /api/v1/users/me/sessions/:id": ({ ada, sessionId }) => ({
    token: ada.token,
    path: `/api/v1/users/me/sessions/${sessionId}`,
  }),
  "PATCH /api/v1/users/:id": byRoot({ is_active: false }),
  "DELETE /api/v1/users/:id": byRoot(),
  "POST /api/v1/users/:id/unlock": byRoot(undefined, "/unlock"),
  "POST /api/v1/webhooks": byAda(WEBHOOK),
  "PATCH /api/v1/webhooks/:id": onWebhook("", { description: "Changed" }),
  "DELETE /api/v1/webhooks/:id": onWebhook(),
  "POST /api/v1/webhooks/:id/test": onWebhook("/test"),
  "POST /api/v1/webhooks/:id/rotate-secret": onWebhook("/rotate-secret"),
  "POST /api/v1/webhooks/:id/replay": onWebhook("/replay", { since: "2026-01-31T00:00:00Z" }),
  "POST /api/v1/webhooks/:id/deliveries/:delivery_id/redeliver": onWebhook(
    `/deliveries/${crypto.randomUUID()}/redeliver`,
  ),
  "POST /oauth/token": () => ({ body: { grant_type: "password", ...credentials } }),
  "POST /oauth/revoke": ({ ada }) => ({ body: { token: ada.refreshToken } }),
  "POST /oauth/introspect": ({ ada }) => ({ body: { token: ada.refreshToken } }),
  "POST /verify-email": ({ change }) => ({ body: { token: change, password: PASSWORD } }),
  "POST /undo-email": ({ undo }) => ({ body: { token: undo } }),
  "POST /reset-password": ({ reset }) => ({ body: { token: reset, password: NEW } }),
  "POST /sign-in": ({ signIn }) => ({ body: { token: signIn } }),
  "POST /forgot-password": () => ({ body: { email: EMAIL } }),
};

const routesOf = ({ bunkerRoutes }: Scene): string[] => {
  const names = bunkerRoutes
    .filter(({ method }) => !["GET", "HEAD", "OPTIONS"].includes(method))
    .map(({ method, path }) => `${method} ${path}`);
  return [...new Set(names)].sort();
};

function start(here: Scene, route: string) {
  const [method = "", pattern = ""] = route.split(" ");
  const { path = pattern, token, body } = writes[route]?.(here) ?? {};
  const isForm = !pattern.startsWith("/api/");
  return here.send(method, path, {
    headers: {
      ...(isForm ? FORM_TYPE : JSON_TYPE),
      ...(token ? { authorization: `Bearer ${token}` } : {}),
    },
    ...(body
      ? { body: isForm ? new URLSearchParams({ ...body }).toString() : JSON.stringify(body) }
      : {}),
  });
}

/** Deletes a user, and commits only once `work` has finished or waits for a lock. */
async function deleteAround<T>(here: Scene, id: string, work: () => Promise<T>): Promise<T> {
  const { ctx, sql } = here;
  let done = false;
  const [answer] = await ctx.db.transaction(async (tx) => {
    await deleteUser({ ...ctx, db: tx }, operator, { id });
    const working = work().finally(() => {
      done = true;
    });
    // It may fail before the caller awaits it.
    working.catch(() => {});
    while (!done) {
      const [row] = await sql`select count(*)::int as waiting from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`;
      if (row?.["waiting"] > 0) break;
      await Bun.sleep(2);
    }
    // In an array: the transaction would await a promise, which waits for it.
    return [working];
  });
  return answer as T;
}

const all = Object.keys(writes);

test("every route that writes has a test that races it against a deletion", async () => {
  expect(routesOf(await deletionWorld())).toEqual([...all].sort());
});

/** What a route declares; pages declare nothing. */
const declared = ({ app }: Scene, route: string): string[] => {
  const found = app.routes.find(({ method, path }) => `${method} ${path}` === route);
  return found?.hooks.detail?.hide ? [] : Object.keys(found?.hooks.response ?? {});
};

for (const route of all)
  test(`${route} returns a declared response while its user is deleted`, async () => {
    const here = await deletionWorld();
    if (route.includes("/webhooks"))
      await updateUser(here.ctx, operator, { id: here.ada.id, isSuperuser: true });
    const { status } = await deleteAround(here, here.ada.id, () => start(here, route));
    const statuses = declared(here, route);
    expect({ status, isDeclared: statuses.length === 0 || statuses.includes(`${status}`) }).toEqual(
      { status: Math.min(status, 499), isDeclared: true },
    );
  });

test("a user who is deleted meanwhile gets 401, a superuser gets 404 for another user", async () => {
  const own = ["PATCH /api/v1/users/me", "DELETE /api/v1/users/me", "POST /api/v1/users/me/email"];
  for (const route of own) {
    const here = await deletionWorld();
    const answer = await deleteAround(here, here.ada.id, () => start(here, route));
    expect([route, answer.status, answer.body.code]).toEqual([route, 401, "invalid_token"]);
  }
  for (const route of [
    "PATCH /api/v1/users/:id",
    "DELETE /api/v1/users/:id",
    "POST /api/v1/users/:id/unlock",
  ]) {
    const here = await deletionWorld();
    const answer = await deleteAround(here, here.ada.id, () => start(here, route));
    expect([route, answer.status, answer.body.code]).toEqual([route, 404, "not_found"]);
  }
});

test("a mailed link of a user who is deleted meanwhile is invalid", async () => {
  for (const route of ["POST /api/v1/auth/password/reset", "POST /api/v1/auth/email/verify"]) {
    const here = await deletionWorld();
    const answer = await deleteAround(here, here.ada.id, () => start(here, route));
    expect([route, answer.status, answer.body.code]).toEqual([route, 400, "invalid_link"]);
  }
});

test("a registration while the user of the email is deleted gets a link", async () => {
  const here = await deletionWorld();
  const config = { ...here.ctx.config, requireEmailVerification: "on" } as const;
  const actor = { kind: "anonymous" } as const;
  const input = { email: EMAIL, password: NEW };
  await deleteAround(here, here.ada.id, () => register({ ...here.ctx, config }, actor, input));
  expect((await here.mails())[0]).toBe(`verify_email ${EMAIL}`);
  const token = await here.tokenFor(EMAIL, "verify_email");
  expect((await here.verify({ token, password: NEW })).status).toBe(204);
  const rows = await here.sql`select id from users where email_key = ${EMAIL}`;
  expect(rows.map(({ id }) => id === here.ada.id)).toEqual([false]);
});

test("jobs go on while a user is deleted", async () => {
  const here = await deletionWorld();
  await here.newUser("bob@example.com");
  await here.ada.post("/users/me/email", { email: "third@example.com" });
  await here.forgot(EMAIL);
  await here.forgot("bob@example.com");
  // A deletion waits for a job that has locked the user's requests, so only the anonymous request
  // meets it.
  await here.sql`delete from mail_requests where user_id is not null`;
  const jobs = [answerLinkRequests, deliverMails, purgeMails, purgeLinks, purgeSessions];
  const [answered] = await deleteAround(here, here.ada.id, () =>
    Promise.all(jobs.map((run) => run(here.ctx))),
  );
  expect(answered).toBe(1);
  expect(await here.mails()).toContain("reset_password bob@example.com");
});

test("operator commands refuse a user who is deleted meanwhile", async () => {
  const commands: Record<string, (deletionWorld: Scene) => Promise<unknown>> = {
    promote: ({ ctx, ada }) => updateUser(ctx, operator, { id: ada.id, isSuperuser: true }),
    deactivate: ({ ctx, ada }) => updateUser(ctx, operator, { id: ada.id, isActive: false }),
    "set-password": ({ ctx, ada }) =>
      findUser(ctx, ada.id).then((user) =>
        setPassword(ctx, operator, { user: user as User, password: NEW }),
      ),
  };
  for (const [name, run] of Object.entries(commands)) {
    const here = await deletionWorld();
    const running = deleteAround(here, here.ada.id, () => run(here));
    expect([name, await running.catch((error) => error.code)]).toEqual([name, "not_found"]);
  }
});

test("writes and deletions that start together cause no server error", async () => {
  for (const route of all) {
    const here = await deletionWorld();
    const other = (await here.anonymous.post("/auth/login", credentials)).body.access_token;
    const answers = await Promise.all([
      start(here, route),
      here.send("DELETE", "/api/v1/users/me", { headers: { authorization: `Bearer ${other}` } }),
      start(here, route),
      here.root.delete(`/users/${here.ada.id}`),
      answerLinkRequests(here.ctx),
    ]);
    const statuses = answers.map((answer) => (typeof answer === "number" ? 200 : answer.status));
    expect([route, statuses, statuses.filter((status) => status >= 500)]).toEqual([
      route,
      statuses,
      [],
    ]);
  }
}, 120_000);

test("every foreign key to users is mapped to a refusal", async () => {
  const { sql } = await deletionWorld();
  const rows = await sql`select conname from pg_constraint
    where contype = 'f' and confrelid = 'users'::regclass order by conname`;
  const names = rows.map((row) => String(row["conname"]));
  expect(names.length).toBeGreaterThan(2);
  expect(names.filter((name) => !USER_REFERENCE.test(name))).toEqual([]);
});
