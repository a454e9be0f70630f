import { describe, expect, test } from "bun:test";
import { eraseRemainingOrigins } from "../../src/modules/events/erasure.ts";
import { record } from "../../src/modules/events/events.ts";
import { deliverMails, listMails, purgeMails, readMail } from "../../src/modules/mail/mail.ts";
import { purgeRegistrations } from "../../src/modules/registration/registration.ts";
import { deleteUser } from "../../src/modules/users/users.ts";
import { mailWorld } from "../support/mail-world.ts";
import { ipOf } from "../support/proxied-world.ts";
import { smtpWorld } from "../support/smtp-world.ts";
import { PASSWORD, world } from "../support/world.ts";

const operator = { kind: "operator" } as const;
const ADA = "ada@example.com";

interface Sent {
  body?: object;
  token?: string;
  headers?: Record<string, string>;
}

/** A world behind a proxy, so that every request has a client IP. */
async function proxiedMailWorld(settings: Parameters<typeof mailWorld>[0] = {}) {
  const here = await mailWorld({ trustedProxies: ["127.0.0.1"], ...settings });
  const call = (method: string, path: string, { body, token, headers = {} }: Sent = {}) =>
    here.send(method, `/api/v1${path}`, {
      headers: {
        "content-type": "application/json",
        "x-forwarded-for": ipOf(7),
        "user-agent": "Ada's browser",
        ...headers,
        ...(token ? { authorization: `Bearer ${token}` } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
  const enter = async () => {
    const body = { username: ADA, password: PASSWORD };
    return (await call("POST", "/auth/login", { body })).body.access_token as string;
  };
  const originsOf = (id: string) =>
    here.sql`select type, address, user_agent from events
      where (subject_id = ${id} or actor_id = ${id}) and (address is not null or user_agent is not null)
      order by position`.then((rows) => rows.map(({ type }) => String(type)));
  /** Every row of every table that contains the text. */
  const rowsWith = async (text: string) => {
    const tables = await here.sql<{ name: string }[]>`
      select relname as name from pg_class
      where relnamespace = 'public'::regnamespace and relkind = 'r'`;
    const found: string[] = [];
    for (const { name } of tables) {
      const rows =
        await here.sql`select 1 from ${here.sql(name)} as t where t::text ilike ${`%${text}%`}`;
      if (rows.length > 0) found.push(name);
    }
    return found;
  };
  return { ...here, call, enter, originsOf, rowsWith };
}

describe("a deleted user", () => {
  test("gets a mail in their language, also if a superuser deletes them", async () => {
    const { verifiedUser, superuser, mails, ctx } = await mailWorld();
    const root = await superuser();
    const ada = await verifiedUser();
    await ada.patch("/users/me", { locale: "de" });
    expect((await ada.delete("/users/me")).status).toBe(204);
    const bob = await verifiedUser("bob@example.com");
    expect((await root.delete(`/users/${bob.id}`)).status).toBe(204);
    const kinds = (await mails()).filter((one) => one.startsWith("account_deleted"));
    expect(kinds).toEqual(["account_deleted bob@example.com", `account_deleted ${ADA}`]);
    const opened = await Promise.all((await listMails(ctx)).map(({ id }) => readMail(ctx, id)));
    const subjects = opened.map(({ rendered }) => rendered.subject);
    expect(subjects.slice(0, 2)).toEqual(["Your account was deleted", "Ihr Konto wurde gelöscht"]);
    expect(opened[0]?.rendered.text).toMatch(/deleted on \d{4}-\d\d-\d\d \d\d:\d\d UTC/);
  });

  test("gets no mail at an unverified email", async () => {
    const { newUser, mails } = await mailWorld();
    const ada = await newUser();
    expect((await ada.delete("/users/me")).status).toBe(204);
    expect((await mails()).filter((one) => one.startsWith("account_deleted"))).toEqual([]);
  });

  test("keeps events under an id that identifies nobody, without client IP and user agent", async () => {
    const { call, enter, originsOf, rowsWith, sql, superuser } = await proxiedMailWorld();
    const root = await superuser();
    const made = await call("POST", "/auth/register", { body: { email: ADA, password: PASSWORD } });
    const { id } = made.body;
    const token = await enter();
    await call("PATCH", "/users/me", { body: { full_name: "Ada King" }, token });
    await call("PATCH", `/users/${id}`, { body: { locale: "en" }, token: root.token });
    expect(await originsOf(id)).toEqual([
      "user.created",
      "session.started",
      "user.updated",
      "user.updated",
    ]);
    expect((await call("DELETE", "/users/me", { token })).status).toBe(204);
    // The last one is the superuser's own.
    expect(await originsOf(id)).toEqual(["user.updated"]);
    const [kept] = await sql`select count(*)::int as number from events where subject_id = ${id}`;
    expect(kept).toEqual({ number: 6 });
    for (const text of [ADA, "Ada King"]) expect([text, await rowsWith(text)]).toEqual([text, []]);
  });

  test("stays, and the failure is logged, if a table of the product still refers to them", async () => {
    const { sql, newUser, superuser, logged } = await world();
    await sql`create table product_orders (id uuid, buyer_id uuid
      constraint product_orders_buyer_id_users_id_fk references users (id))`;
    const [ada, root] = [await newUser(), await superuser()];
    await sql`insert into product_orders values (${root.id}, ${ada.id})`;
    const answers = [
      await ada.delete("/users/me", { current_password: PASSWORD }),
      await root.delete(`/users/${ada.id}`),
    ];
    await sql`drop table product_orders`;
    expect(answers.map(({ body }) => body.code)).toEqual(["internal", "internal"]);
    expect(JSON.stringify(logged)).toContain("product_orders_buyer_id_users_id_fk");
    expect((await ada.get("/users/me")).status).toBe(200);
  });

  test("leaves no response of an Idempotency-Key and no waiting mail", async () => {
    const { call, enter, rowsWith } = await proxiedMailWorld();
    const body = { email: ADA, password: PASSWORD };
    await call("POST", "/auth/register", { body, headers: { "idempotency-key": "one" } });
    expect((await rowsWith(ADA)).sort()).toEqual([
      "idempotency",
      "mails",
      "one_time_secrets",
      "users",
    ]);
    const token = await enter();
    await call("DELETE", "/users/me", { token });
    expect(await rowsWith(ADA)).toEqual([]);
  });

  test("leaves no mail from before the email was verified", async () => {
    const settings = { requireEmailVerification: "on", rateLimit: "off" } as const;
    const { call, enter, rowsWith, tokenFor, verify, sql } = await proxiedMailWorld(settings);
    await call("POST", "/auth/register", { body: { email: ADA, password: PASSWORD } });
    await verify({ token: await tokenFor(ADA, "verify_email"), password: PASSWORD });
    await call("DELETE", "/users/me", { token: await enter() });
    const left = await sql`select kind from mails where recipient <> ''`;
    expect([...left]).toEqual([{ kind: "account_deleted" }]);
    expect(await rowsWith(ADA)).toEqual(["mails"]);
  });

  test("leaves the email in the last mail only until that is sent", async () => {
    const { ctx, sql, newUser, server } = await smtpWorld();
    const ada = await newUser();
    await deliverMails(ctx);
    await sql`update users set email_verified = true`;
    await ada.delete("/users/me");
    const recipients = () => sql`select recipient from mails where recipient <> ''`;
    expect([...(await recipients())]).toEqual([{ recipient: ADA }]);
    expect(await deliverMails(ctx)).toBe(1);
    expect(server.received.at(-1)?.to).toEqual([ADA]);
    expect([...(await recipients())]).toEqual([]);
  });

  test("with more events than one batch is erased by a job, and so are requests in progress", async () => {
    const { ctx, superuser, originsOf, pass, sql } = await proxiedMailWorld();
    const root = await superuser();
    const other = await superuser("other@example.com");
    const subjectId = other.id;
    const origin = { ip: "198.51.100.9", userAgent: "curl/8", requestId: null };
    const { body: user } = await root.get("/users/me");
    const actor = {
      kind: "user",
      user,
      session: { id: "", createdAt: new Date() },
      origin,
    } as never;
    const change = { type: "user.updated", subjectId, data: { fields: [] as string[] } } as const;
    await record(
      ctx,
      actor,
      Array.from({ length: 12_000 }, () => change),
    );
    await deleteUser(ctx, operator, { id: root.id });
    expect((await originsOf(root.id)).length).toBeGreaterThan(6_999);
    expect(await eraseRemainingOrigins(ctx)).toBe(0);
    await record(ctx, actor, change);
    pass(61_000);
    let rounds = 0;
    while ((await eraseRemainingOrigins(ctx)) > 0) rounds += 1;
    expect([rounds, await originsOf(root.id)]).toEqual([2, []]);
    expect(await sql`select 1 from erasures`).toHaveLength(0);
  });

  test("is erased too if the email was never verified", async () => {
    const { ctx, call, rowsWith, mails, pass, sql } = await proxiedMailWorld({
      requireEmailVerification: "on",
    });
    await call("POST", "/auth/register", { body: { email: ADA, password: PASSWORD } });
    await mails();
    pass(8 * 86_400_000);
    expect([await purgeRegistrations(ctx), await purgeMails(ctx)]).toEqual([1, 1]);
    expect(await rowsWith(ADA)).toEqual([]);
    expect(await sql`select 1 from events`).toHaveLength(0);
  });
});
