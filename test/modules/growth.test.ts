import { describe, expect, test } from "bun:test";
import { sql as query } from "drizzle-orm";
import { transaction } from "../../src/db/transaction.ts";
import { perDay, policies } from "../../src/limits/policies.ts";
import { record } from "../../src/modules/events/events.ts";
import { purgeEvents } from "../../src/modules/events/retention.ts";
import { listMails } from "../../src/modules/mail/mail.ts";
import { mailWorld, NEW } from "../support/mail-world.ts";
import { PASSWORD, world } from "../support/world.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const operator = { kind: "operator" } as const;

describe("what one user can write is bounded", () => {
  test("a user who changes the profile in a loop for a day stays within the bound", async () => {
    const { sql, ada, pass, renewed } = await userWithRenewedToken();
    const bound = perDay(policies.changes);
    for (let hour = 0; hour < 24; hour += 1) {
      const { patch } = await renewed();
      for (let turn = 0; ; turn += 1) {
        const { status } = await patch("/users/me", { full_name: `Ada ${hour} ${turn}` });
        if (status === 429) break;
        expect(status).toBe(200);
        expect(turn).toBeLessThan(bound);
      }
      pass(HOUR);
    }
    const [row] = await sql`select count(*)::int as events from events
      where subject_id = ${ada.id} and type = 'user.updated'`;
    expect(row?.["events"]).toBeGreaterThan(policies.changes.quota);
    expect(row?.["events"]).toBeLessThanOrEqual(bound);
  });

  test("requests that change nothing are free", async () => {
    const { ada } = await userWithRenewedToken({ changes: few });
    for (let turn = 0; turn < 5; turn += 1)
      expect((await ada.patch("/users/me", { username: "ada" })).status).toBe(200);
    expect((await ada.patch("/users/me", { full_name: "Ada" })).headers.get("ratelimit")).toContain(
      '"changes";r=1',
    );
  });

  test("a stolen access token cannot stop the owner from changing the password or ending sessions", async () => {
    const { ada, signIn } = await userWithRenewedToken({ changes: few });
    for (const name of ["one", "two"]) await ada.patch("/users/me", { full_name: name });
    expect(await ada.patch("/users/me", { full_name: "three" })).toMatchObject({ status: 429 });
    for (let turn = 0; turn < 5; turn += 1)
      await ada.put("/users/me/password", { current_password: "wrong", new_password: NEW });
    await signIn("ada@example.com");
    expect((await ada.delete("/users/me/sessions")).status).toBe(204);
    const change = { current_password: PASSWORD, new_password: NEW };
    expect((await ada.put("/users/me/password", change)).status).toBe(204);
    expect((await ada.delete("/users/me")).status).toBe(204);
  });

  test("password changes are bounded as well", async () => {
    const { ada } = await userWithRenewedToken({ changes: few });
    const [a, b] = [PASSWORD, NEW];
    const statuses: number[] = [];
    for (const [current, next] of [
      [a, b],
      [b, a],
      [a, b],
    ])
      statuses.push(
        (await ada.put("/users/me/password", { current_password: current, new_password: next }))
          .status,
      );
    expect(statuses).toEqual([204, 204, 429]);
  });

  test("sign-ins by password are bounded, also from known devices, and do not count as failures", async () => {
    const { sql, ada, anonymous, pass } = await userWithRenewedToken({
      "sign-ins": { ...few, quota: 3 },
    });
    const logIn = () =>
      anonymous.post("/auth/login", { username: "ada@example.com", password: PASSWORD });
    const statuses = [(await logIn()).status, (await logIn()).status];
    const refused = await logIn();
    expect([...statuses, refused.status]).toEqual([200, 200, 429]);
    expect(refused.body.detail).toContain("sign-ins");
    const [row] = await sql`select count(*)::int as events from events
      where subject_id = ${ada.id} and type = 'session.started'`;
    expect(row).toEqual({ events: 3 });
    // Wrong guesses do not consume them.
    pass(HOUR + 1000);
    for (let turn = 0; turn < 5; turn += 1)
      await anonymous.post("/auth/login", { username: "ada@example.com", password: "wrong" });
    pass(60_000);
    expect((await logIn()).status).toBe(200);
  });

  test("an attacker who used up the sign-ins blocks the owner for a minute at most", async () => {
    const { anonymous, pass } = await userWithRenewedToken({
      "sign-ins": { ...policies["sign-ins"], quota: 2 },
    });
    const logIn = () =>
      anonymous.post("/auth/login", { username: "ada@example.com", password: PASSWORD });
    expect([(await logIn()).status, (await logIn()).status]).toEqual([200, 429]);
    pass(60_000);
    expect((await logIn()).status).toBe(200);
  });
});

const few = { quota: 2, refill: 1, periodSeconds: 3600 };

/** A user whose access token is renewed when the clock advances. */
async function userWithRenewedToken(limits: object = {}) {
  const here = await world({ limits: { ...policies, ...limits } });
  const ada = await here.newUser();
  const renewed = async () => here.as((await here.signIn("ada@example.com")).access_token);
  return { ...here, ada, renewed };
}

describe("events are kept for EVENTS_RETENTION_DAYS", () => {
  test("older events are deleted in batches, and nothing else", async () => {
    const { ctx, sql, pass } = await world({ eventsRetentionDays: 30 });
    const many = (type: "user.created" | "user.deleted", count: number) =>
      record(
        ctx,
        operator,
        Array.from({ length: count }, () => ({ type, subjectId: crypto.randomUUID(), data: {} })),
      );
    await many("user.created", 700);
    pass(DAY);
    await many("user.deleted", 3);
    pass(29 * DAY - 1000);
    expect(await purgeEvents(ctx)).toBe(0);
    pass(2000);
    expect([await purgeEvents(ctx), await purgeEvents(ctx), await purgeEvents(ctx)]).toEqual([
      500, 200, 0,
    ]);
    expect(await sql`select distinct type from events`).toEqual([
      { type: "user.deleted" },
    ] as never);
  });

  test("the purge keeps to its batch size, whatever plan PostgreSQL chooses", async () => {
    const { ctx, pass } = await world({ eventsRetentionDays: 1 });
    const subjectId = crypto.randomUUID();
    const event = { type: "user.created", subjectId, data: {} } as const;
    await record(ctx, operator, Array(700).fill(event));
    pass(2 * DAY);
    await transaction(ctx, async (tx) => {
      // Only nested loops, which run a subquery of IN once for each row.
      for (const method of ["hashjoin", "mergejoin", "material", "memoize", "hashagg", "sort"])
        await tx.db.execute(query.raw(`set local enable_${method} = off`));
      expect(await purgeEvents(tx)).toBe(500);
    });
  });

  test("the purge skips locked rows", async () => {
    const { ctx, sql, pass } = await world({ eventsRetentionDays: 1 });
    const subjectId = crypto.randomUUID();
    const event = { type: "user.created", subjectId, data: {} } as const;
    await record(ctx, operator, [event, event]);
    pass(2 * DAY);
    await sql.begin(async (held) => {
      await held`select 1 from events limit 1 for update`;
      expect(await purgeEvents(ctx)).toBe(1);
    });
    expect(await purgeEvents(ctx)).toBe(1);
  });

  test("a user whose events are deleted is still notified of a new device", async () => {
    const here = await mailWorld({ eventsRetentionDays: 2 });
    await here.verifiedUser("ada@example.com");
    here.pass(3 * DAY);
    while ((await purgeEvents(here.ctx)) > 0);
    await here.signIn("ada@example.com", { "user-agent": "Other/1.0" });
    expect((await listMails(here.ctx)).map(({ kind }) => kind)).toContain("new_device");
  });
});
