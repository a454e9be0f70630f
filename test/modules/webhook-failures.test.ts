import { describe, expect, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import { readMails } from "../../src/modules/mail/mail.ts";
import { until } from "../support/until.ts";
import {
  failing,
  ok,
  onlyDeleted,
  signatureOf,
  subjectsOf,
  webhookWorld,
} from "../support/webhook-world.ts";

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const DAY = 24 * HOUR;

describe("a failed delivery is retried", () => {
  test("after 1, 2, 4, 8, 15 and 30 seconds, then later, with the same id and a new signature", async () => {
    const here = await webhookWorld();
    const there = here.receiver(failing());
    const { secret, path } = await here.webhookTo(there, onlyDeleted);
    here.start();
    await here.recordEvents(1);
    const waits: number[] = [];
    for (let attempts = 1; attempts <= 8; attempts += 1) {
      await until(async () => {
        const [delivery] = await here.deliveriesOf(path);
        return delivery?.attempts === attempts;
      });
      const [delivery] = await here.deliveriesOf(path);
      const now = Date.now();
      const waitMs = Date.parse(delivery?.next_attempt_at ?? "") - (there.received.at(-1)?.at ?? 0);
      waits.push(waitMs / SECOND);
      here.pass(Date.parse(delivery?.next_attempt_at ?? "") - now);
    }
    for (const [at, seconds] of [1, 2, 4, 8, 15, 30, 60, 300].entries()) {
      expect(waits[at]).toBeGreaterThanOrEqual(0.8 * seconds - 0.01);
      expect(waits[at]).toBeLessThanOrEqual(1.2 * seconds + 1);
    }
    there.answer = ok;
    here.pass(20 * 60 * SECOND);
    await until(async () => {
      const [delivery] = await here.deliveriesOf(path);
      return delivery?.state === "delivered";
    });
    expect(new Set(there.ids()).size).toBe(1);
    const last = there.received.at(-1);
    if (!last) throw new Error("nothing received");
    new Webhook(secret).verify(last.text, signatureOf(last));
    expect(
      new Set(there.received.map(({ headers }) => headers["webhook-timestamp"])).size,
    ).toBeGreaterThan(6);
  });

  test("not before Retry-After, but after a day at the latest", async () => {
    const here = await webhookWorld();
    for (const [given, min, max] of [
      ["120", 120 * SECOND, 125 * SECOND],
      ["9999999", DAY, DAY + 5 * SECOND],
      ["0", 500, 5 * SECOND],
    ] as const) {
      const there = here.receiver(failing(429, { "retry-after": given }));
      const { path } = await here.webhookTo(there, onlyDeleted);
      const stop = here.start();
      await here.recordEvents(1);
      const attempted = async () => (await here.deliveriesOf(path))[0]?.attempts === 1;
      await until(attempted);
      const [delivery] = await here.deliveriesOf(path);
      const wait = Date.parse(delivery?.next_attempt_at ?? "") - (there.received[0]?.at ?? 0);
      expect(wait).toBeGreaterThanOrEqual(min);
      expect(wait).toBeLessThanOrEqual(max);
      await stop();
      await here.root.delete(path);
    }
  });

  test("a redirect is not followed, and a hang or a reset counts as a failure", async () => {
    const here = await webhookWorld();
    const elsewhere = here.receiver();
    const there = here.receiver(() => Response.redirect(elsewhere.url, 307));
    const { path } = await here.webhookTo(there, onlyDeleted);
    here.start();
    await here.recordEvents(1);
    await until(async () => (await here.deliveriesOf(path))[0]?.attempts === 1);
    const [delivery] = await here.deliveriesOf(path);
    expect([delivery?.state, delivery?.response_status]).toEqual(["waiting", 307]);
    there.close();
    here.pass(2 * SECOND);
    await until(async () => (await here.deliveriesOf(path))[0]?.attempts === 2);
    const [refused] = await here.deliveriesOf(path);
    expect([refused?.response_status, refused?.response_body]).toEqual([null, null]);
    expect(refused?.error).toContain("refused");
    expect(elsewhere.received).toEqual([]);
  });
});

test("results that could not be stored are not stored later, beside new attempts", async () => {
  const here = await webhookWorld();
  const there = here.receiver();
  const gates: PromiseWithResolvers<void>[] = [];
  there.answer = async () => {
    const gate = Promise.withResolvers<void>();
    gates.push(gate);
    await gate.promise;
    return failing()();
  };
  await here.webhookTo(there, onlyDeleted);
  await here.recordEvents(5);
  here.start();
  await until(() => gates.length === 5);
  await here.sql.unsafe(`
    create function refuse() returns trigger language plpgsql as $$
      begin perform pg_sleep(0.2); raise exception 'refused by the test'; end $$;
    create trigger refuse before update on webhook_deliveries
      for each row when (new.attempts > old.attempts) execute function refuse()`);
  // The fifth attempt goes on.
  for (const gate of gates.slice(0, 4)) gate.resolve();
  await sleep(600);
  await here.sql.unsafe("drop function refuse() cascade");
  here.pass(6 * SECOND);
  await until(() => gates.length >= 9);
  gates.at(-1)?.resolve();
  await sleep(300);
  const [row] = await here.sql`
    select count(*)::int as count from webhook_deliveries where leased_until is null`;
  expect(row?.["count"]).toBe(1);
  for (const gate of gates) gate.resolve();
});

describe("a receiver that fails", () => {
  test("for three days is disabled, superusers are told, and it goes on where it was", async () => {
    const here = await webhookWorld();
    const there = here.receiver(failing(503));
    const { path, id } = await here.webhookTo(there, onlyDeleted);
    here.start();
    const subjects = await here.recordEvents(2);
    const isFailing = async () => (await here.root.get(path)).body.failing_since !== null;
    const passUntil = (isSo: () => Promise<boolean>) =>
      until(async () => {
        here.pass(2 * SECOND);
        await sleep(20);
        return isSo();
      });
    await passUntil(isFailing);
    here.pass(3 * DAY - HOUR);
    subjects.push(...(await here.recordEvents(1)));
    const before = there.received.length;
    await until(() => there.received.length > before);
    expect((await here.root.get(path)).body.enabled).toBe(true);
    here.pass(5 * HOUR);
    await until(async () => !(await here.root.get(path)).body.enabled);
    const { body } = await here.root.get(path);
    expect(body.disabled_reason).toBe("No event could be delivered for 3 days.");
    const { body: events } = await here.root.get(`/events?subject=${id}&type=webhook.disabled`);
    expect(events).toMatchObject([{ data: { reason: body.disabled_reason } }]);
    const mails = await readMails(here.ctx, "root@example.com");
    const texts = mails.filter(({ queued }) => queued.kind === "webhook_disabled");
    expect(texts.map(({ rendered }) => rendered.text)).toEqual([expect.stringContaining(id)]);
    subjects.push(...(await here.recordEvents(1)));
    const count = there.received.length;
    await sleep(200);
    expect(there.received.length).toBe(count);
    there.answer = ok;
    there.received.length = 0;
    const back = await here.root.patch(path, { enabled: true });
    expect(back.body).toMatchObject({ enabled: true, failing_since: null, disabled_reason: null });
    const waiting = (await here.deliveriesOf(path)).filter(({ state }) => state === "waiting");
    expect(waiting.length).toBeGreaterThan(0);
    await until(() => there.received.length >= waiting.length + 1);
    expect(subjects).toEqual(expect.arrayContaining(subjectsOf(there.received)));
    expect(subjectsOf(there.received)).toContain(subjects.at(-1) ?? "");
  });

  test("only for some events stays enabled, and gets the others", async () => {
    const here = await webhookWorld();
    const there = here.receiver(failing());
    const { path } = await here.webhookTo(there, onlyDeleted);
    here.start();
    const [odd] = await here.recordEvents(1);
    await until(() => there.received.length > 0);
    there.answer = ({ body }) => (body.subject === odd ? failing()() : ok());
    const stateOf = async () =>
      (await here.deliveriesOf(path)).find(({ state }) => state !== "delivered");
    for (let turn = 0; turn < 10; turn += 1) {
      await here.recordEvents(1);
      here.pass(8 * HOUR);
      await sleep(100);
      const { body } = await here.root.get(path);
      expect([body.enabled, body.failing_since]).toEqual([true, null]);
    }
    expect(await stateOf()).toMatchObject({ state: "failed", response_status: 500 });
    expect(there.received.filter(({ body }) => body.subject !== odd)).toHaveLength(10);
  });

  test("with 410 is disabled at once, and the event waits", async () => {
    const here = await webhookWorld();
    const there = here.receiver(failing(410));
    const { path } = await here.webhookTo(there, onlyDeleted);
    here.start();
    const subjects = await here.recordEvents(40);
    await until(async () => !(await here.root.get(path)).body.enabled);
    expect((await here.root.get(path)).body.disabled_reason).toContain("410");
    await sleep(100);
    expect((await here.deliveriesOf(path)).map(({ state }) => state)).not.toContain("failed");
    const mails = await readMails(here.ctx, "root@example.com");
    expect(mails.filter(({ queued }) => queued.kind === "webhook_disabled")).toHaveLength(1);
    there.answer = ok;
    there.received.length = 0;
    await here.root.patch(path, { enabled: true });
    await until(() => new Set(subjectsOf(there.received)).size === subjects.length);
  });

  test("gets one request at a time, and all that wait at once when it is back", async () => {
    const here = await webhookWorld();
    let atOnce = 0;
    let most = 0;
    const there = here.receiver(failing());
    const { path } = await here.webhookTo(there, onlyDeleted);
    here.start();
    await here.recordEvents(30);
    for (let turn = 0; turn < 6; turn += 1) {
      await sleep(150);
      here.pass(20 * SECOND);
    }
    await until(async () => (await here.root.get(path)).body.failing_since);
    await sleep(300);
    there.answer = async () => {
      atOnce += 1;
      most = Math.max(most, atOnce);
      await sleep(30);
      atOnce -= 1;
      return new Response("no", { status: 500 });
    };
    here.pass(40 * SECOND);
    const before = there.received.length;
    for (let second = 0; second < 4; second += 1) {
      await sleep(150);
      here.pass(SECOND);
    }
    expect(most).toBe(1);
    const probes = there.received.length - before;
    expect([probes >= 1, probes <= 5]).toEqual([true, true]);
    there.answer = ok;
    there.received.length = 0;
    here.pass(2 * 60 * SECOND);
    await until(() => new Set(there.ids()).size === 30);
    await until(async () =>
      (await here.deliveriesOf(path)).every(({ state }) => state === "delivered"),
    );
    expect((await here.root.get(path)).body.failing_since).toBeNull();
  });

  test("by hanging does not delay the end of a process, and another one goes on at once", async () => {
    const here = await webhookWorld();
    const there = here.receiver(() => new Promise(() => {}));
    const { path } = await here.webhookTo(there, onlyDeleted);
    const stop = here.start();
    await here.recordEvents(1);
    await until(() => there.received.length === 1);
    const startedAt = performance.now();
    await stop();
    expect(performance.now() - startedAt).toBeLessThan(4.5 * SECOND);
    expect(await here.deliveriesOf(path)).toMatchObject([{ state: "waiting", attempts: 0 }]);
    there.answer = ok;
    here.start();
    await until(() => there.received.length === 2);
  });

  test("or hangs delays no other one", async () => {
    const here = await webhookWorld();
    const [dead, healthy] = [here.receiver(() => new Promise(() => {})), here.receiver()];
    const hung = await here.webhookTo(dead, onlyDeleted);
    await here.webhookTo(healthy, onlyDeleted);
    here.start();
    await here.recordEvents(20);
    await until(() => dead.received.length >= 16);
    const startedAt = performance.now();
    await here.recordEvents(100);
    await until(() => healthy.received.length === 120);
    expect(performance.now() - startedAt).toBeLessThan(3 * SECOND);
    expect(dead.received.length).toBe(16);
    await here.root.delete(hung.path);
  });
});
