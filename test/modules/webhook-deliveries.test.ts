import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import { readLags } from "../../src/modules/events/sinks.ts";
import { queueDeliveries } from "../../src/modules/webhooks/dispatch.ts";
import { reencryptSecrets } from "../../src/modules/webhooks/secrets.ts";
import { openSenders } from "../../src/modules/webhooks/senders.ts";
import { createCtx } from "../../src/wire.ts";
import { needs } from "../support/needs.ts";
import { until } from "../support/until.ts";
import { onlyDeleted, signatureOf, subjectsOf, webhookWorld } from "../support/webhook-world.ts";
import { database, SECRET } from "../support/world.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

test("an event is sent once, signed, and standardwebhooks verifies it", async () => {
  const here = await webhookWorld({ publicUrl: "https://accounts.example.com" });
  const there = here.receiver();
  const { secret, path } = await here.webhookTo(there, { events: ["user.created"] });
  here.start();
  const ada = await here.newUser();
  await until(() => there.received.length > 0);
  await sleep(100);
  const [received, ...more] = there.received;
  if (!received || more.length > 0) throw new Error(`received ${there.types()}`);
  const { body, headers, text } = received;
  expect(body).toMatchObject({
    specversion: "1.0",
    id: headers["webhook-id"],
    source: "https://accounts.example.com",
    type: "user.created",
    subject: ada.id,
    data: { actor: { kind: "anonymous", id: null } },
  });
  expect([headers["content-type"], headers["user-agent"]]).toEqual([
    "application/json",
    expect.stringMatching(/^Bunker\//),
  ]);
  expect(new Webhook(secret).verify(text, signatureOf(received))).toEqual(body);
  const other = `whsec_${Buffer.alloc(32).toString("base64")}`;
  expect(() => new Webhook(other).verify(text, signatureOf(received))).toThrow();
  const [delivery] = await here.deliveriesOf(path);
  expect(delivery).toMatchObject({
    event_id: headers["webhook-id"],
    event_type: "user.created",
    state: "delivered",
    attempts: 1,
    next_attempt_at: null,
    response_status: 200,
    response_body: "ok",
    error: null,
  });
});

needs("python3").test("Python verifies the signature of an event", async () => {
  const here = await webhookWorld();
  const there = here.receiver();
  const { secret } = await here.webhookTo(there, onlyDeleted);
  here.start();
  await here.recordEvents(1);
  await until(() => there.received.length > 0);
  const [received] = there.received;
  if (!received) throw new Error("nothing received");
  const { headers, text } = received;
  const python = `
import base64, hashlib, hmac, json, sys
given = json.load(sys.stdin)
signed = f"{given['id']}.{given['timestamp']}.{given['body']}".encode()
key = base64.b64decode(given["secret"].removeprefix("whsec_"))
expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
print(any(hmac.compare_digest(expected, one) for one in given["signature"].split(" ")))`;
  const input = JSON.stringify({
    secret,
    body: text,
    id: headers["webhook-id"],
    timestamp: headers["webhook-timestamp"],
    signature: headers["webhook-signature"],
  });
  expect(execFileSync("python3", ["-c", python], { input }).toString().trim()).toBe("True");
});

test("a webhook gets the types that it names, and with * all of them, from its creation on", async () => {
  const here = await webhookWorld();
  const [some, all] = [here.receiver(), here.receiver()];
  await here.newUser("before@example.com");
  await here.webhookTo(some, { events: ["user.created", "session.started"] });
  await here.webhookTo(all);
  const { id } = await here.newUser();
  await here.root.delete(`/users/${id}`);
  here.start();
  await until(() => all.received.length === 5 && some.received.length === 2);
  expect(some.types().toSorted()).toEqual(["session.started", "user.created"]);
  expect(all.types().toSorted()).toEqual([
    "session.ended",
    "session.started",
    "user.created",
    "user.deleted",
    "webhook.created",
  ]);
});

test("an event is not sent before its transaction has ended, and not if that fails", async () => {
  const here = await webhookWorld();
  const there = here.receiver();
  await here.webhookTo(there, onlyDeleted);
  here.start();
  const late = crypto.randomUUID();
  const inserted = Promise.withResolvers<void>();
  const open = here.sql.begin(async (sql) => {
    await sql`insert into events (id, type, occurred_at, actor_kind, subject_id, data)
      values (${Bun.randomUUIDv7()}, 'user.deleted', now(), 'operator', ${late}, '{}')`;
    inserted.resolve();
    await sleep(300);
    expect(there.received).toEqual([]);
  });
  await inserted.promise;
  const failed = here.sql.begin(async (sql) => {
    await sql`insert into events (id, type, occurred_at, actor_kind, subject_id, data)
      values (${Bun.randomUUIDv7()}, 'user.deleted', now(), 'operator', ${crypto.randomUUID()}, '{}')`;
    throw new Error("rolled back");
  });
  await expect(failed).rejects.toThrow("rolled back");
  const [early] = await here.recordEvents(1);
  await open;
  await until(() => there.received.length >= 2);
  await sleep(100);
  expect(subjectsOf(there.received).toSorted()).toEqual([late, early ?? ""].toSorted());
});

test("after a rotation both secrets verify for 24 hours, then only the new one", async () => {
  const here = await webhookWorld();
  const there = here.receiver();
  const { secret: first, path } = await here.webhookTo(there, onlyDeleted);
  here.start();
  const { body } = await here.root.post(`${path}/rotate-secret`);
  expect([body.secret === first, body.previous_secret_until]).toEqual([false, expect.any(String)]);
  const next = async () => {
    const count = there.received.length;
    await here.recordEvents(1);
    await until(() => there.received.length > count);
    const received = there.received.at(-1);
    if (!received) throw new Error("nothing received");
    const verify = (secret: string) =>
      new Webhook(secret).verify(received.text, signatureOf(received));
    return { verify, count: received.headers["webhook-signature"]?.split(" ").length };
  };
  const during = await next();
  expect(during.count).toBe(2);
  during.verify(first);
  during.verify(body.secret);
  here.pass(DAY + SECOND);
  const afterwards = await next();
  expect(afterwards.count).toBe(1);
  afterwards.verify(body.secret);
  expect(() => afterwards.verify(first)).toThrow();
});

/** The same world with other secret keys, the current one first. */
function withSecrets({ ctx }: Awaited<ReturnType<typeof webhookWorld>>, ...older: string[]) {
  const { config, ...parts } = ctx;
  return createCtx(config, {
    ...parts,
    database,
    hashingBounds: { atOnce: 1, queueMax: 1, waitMaxMs: 1 },
    secrets: ["another-k3Jd0sLq8vXz2mNb7TyUw5RfGh1PcAe9", ...older],
  });
}

test("secrets outlive a change of SECRET_KEY, once the job has encrypted them again", async () => {
  const here = await webhookWorld();
  const there = here.receiver();
  const { secret, path } = await here.webhookTo(there, onlyDeleted);
  const { body } = await here.root.post(`${path}/rotate-secret`);
  expect(await reencryptSecrets(withSecrets(here, SECRET))).toBe(0);
  const senders = openSenders(withSecrets(here));
  await here.recordEvents(1);
  await senders.run();
  await until(() => there.received.length === 1);
  await senders.close();
  const [received] = there.received;
  if (!received) throw new Error("nothing received");
  for (const one of [secret, body.secret])
    new Webhook(one).verify(received.text, signatureOf(received));
});

test("with a lost SECRET_KEY nothing is sent, and the log of deliveries says what to do", async () => {
  const here = await webhookWorld();
  const there = here.receiver();
  const { path } = await here.webhookTo(there, onlyDeleted);
  const other = withSecrets(here);
  expect(await reencryptSecrets(other)).toBe(0);
  const senders = openSenders(other);
  await here.recordEvents(1);
  await senders.run();
  await until(async () => (await here.deliveriesOf(path))[0]?.attempts === 1);
  await senders.close();
  expect((await here.deliveriesOf(path))[0]?.error).toContain("SECRET_KEY");
  expect(there.received).toEqual([]);
});

test("the lag counts events and deliveries that wait, but not those of a receiver that fails", async () => {
  const here = await webhookWorld();
  const { id } = await here.webhookTo(here.receiver(), onlyDeleted);
  const lag = async () => Math.round((await readLags(here.ctx))["webhooks"] ?? 0);
  await queueDeliveries(here.ctx);
  expect(await lag()).toBe(0);
  await here.recordEvents(1);
  here.pass(MINUTE);
  expect(await lag()).toBe(60);
  await queueDeliveries(here.ctx);
  expect(await lag()).toBe(0);
  here.pass(MINUTE);
  expect(await lag()).toBe(60);
  await here.sql`update webhooks set failing_since = now() where id = ${id}`;
  expect(await lag()).toBe(0);
});
