import { describe, expect, test } from "bun:test";
import { until } from "../support/until.ts";
import { webhookWorld } from "../support/webhook-world.ts";

const url = "https://example.com/hook";
const newWebhook = { url, events: ["user.created", "user.deleted"] };

describe("a superuser manages webhooks", () => {
  test("creating one returns its secret once, its URL and its version", async () => {
    const { root, sql } = await webhookWorld();
    const created = await root.post("/webhooks", { ...newWebhook, description: "Records" });
    expect(created.status).toBe(201);
    const { secret, ...shown } = created.body;
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(shown).toEqual({
      id: expect.any(String),
      created_at: expect.any(String),
      updated_at: expect.any(String),
      ...newWebhook,
      description: "Records",
      enabled: true,
      ordered: false,
      disabled_reason: null,
      failing_since: null,
      previous_secret_until: null,
    });
    expect(created.headers.get("location")).toBe(`/api/v1/webhooks/${shown.id}`);
    const read = await root.get(`/webhooks/${shown.id}`);
    expect([read.body, read.headers.get("etag")]).toEqual([shown, created.headers.get("etag")]);
    expect((await root.get("/webhooks")).body).toEqual([shown]);
    const [row] = await sql`select secret from webhooks`;
    expect(Buffer.from(row?.["secret"]).toString("latin1")).not.toContain(secret);
  });

  test("a change needs the current version, and is recorded with the fields that changed", async () => {
    const { root, send } = await webhookWorld();
    const { body, headers } = await root.post("/webhooks", newWebhook);
    const path = `/webhooks/${body.id}`;
    const patch = (version: string, change: object) =>
      send("PATCH", `/api/v1${path}`, {
        headers: {
          authorization: `Bearer ${root.token}`,
          "content-type": "application/json",
          "if-match": version,
        },
        body: JSON.stringify(change),
      });
    const etag = headers.get("etag") ?? "";
    const changed = await patch(etag, { ordered: true, url, events: ["*", "user.created"] });
    expect([changed.status, changed.body.ordered, changed.body.events]).toEqual([200, true, ["*"]]);
    expect((await patch(etag, { enabled: false })).body.code).toBe("stale");
    await root.patch(path, { description: null, ordered: true });
    await root.post(`${path}/rotate-secret`);
    expect((await root.delete(path)).status).toBe(204);
    expect((await root.get(path)).status).toBe(404);
    const { body: events } = await root.get(`/events?subject=${body.id}`);
    const told = (events as { type: string; data: { fields?: string[] } }[]).map(
      ({ type, data }) => [type, data.fields],
    );
    expect(told).toEqual([
      ["webhook.created", undefined],
      ["webhook.updated", ["events", "ordered"]],
      ["webhook.secret_rotated", undefined],
      ["webhook.deleted", undefined],
    ]);
  });

  test("no other user sees or changes one", async () => {
    const { root, newUser, anonymous } = await webhookWorld();
    const { body } = await root.post("/webhooks", newWebhook);
    const eve = await newUser("eve@example.com");
    const path = `/webhooks/${body.id}`;
    const delivery = `${path}/deliveries/${body.id}/redeliver`;
    for (const [caller, status] of [
      [eve, 403],
      [anonymous, 401],
    ] as const)
      for (const answer of [
        await caller.get("/webhooks"),
        await caller.post("/webhooks", newWebhook),
        await caller.get(path),
        await caller.patch(path, { enabled: false }),
        await caller.delete(path),
        await caller.post(`${path}/test`),
        await caller.post(`${path}/rotate-secret`),
        await caller.post(`${path}/replay`, { since: "2026-01-01T00:00:00Z" }),
        await caller.get(`${path}/deliveries`),
        await caller.post(delivery),
      ])
        expect(answer.status).toBe(status);
    expect((await root.get(path)).body.enabled).toBe(true);
    const other = "/webhooks/019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f70";
    for (const answer of [
      await root.get(other),
      await root.patch(other, { enabled: false }),
      await root.delete(other),
      await root.post(`${other}/test`),
      await root.post(`${other}/rotate-secret`),
      await root.post(`${other}/replay`, { since: "2026-01-01T00:00:00Z" }),
      await root.get(`${other}/deliveries`),
      await root.post(delivery),
    ])
      expect([answer.status, answer.body.code]).toEqual([404, "not_found"]);
  });

  test("a refusal names each invalid field", async () => {
    const { root } = await webhookWorld({ webhooksAllowPrivate: false });
    const faultsOf = async (body: object) => {
      const { status, body: problem } = await root.post("/webhooks", body);
      const errors = problem.errors as { pointer: string; code: string }[];
      return [status, errors.map(({ pointer, code }) => `${pointer} ${code}`)];
    };
    expect(await faultsOf({})).toEqual([422, ["/url missing", "/events missing"]]);
    expect(await faultsOf({ url, events: [] })).toEqual([422, ["/events too_short"]]);
    const unknown = { url, events: ["user.created", "user.creatd"] };
    expect(await faultsOf(unknown)).toEqual([422, ["/events/1 not_allowed"]]);
    const bad = { url: "http://example.com", events: ["*"], description: " " };
    expect(await faultsOf(bad)).toEqual([422, ["/url wrong_format", "/description too_short"]]);
    const secret = { ...newWebhook, secret: "whsec_x" };
    expect((await root.post("/webhooks", secret)).status).toBe(422);
    for (const private_ of ["https://127.0.0.1/", "https://169.254.169.254/", "https://localhost/"])
      expect(await faultsOf({ url: private_, events: ["*"] })).toEqual([
        422,
        ["/url wrong_format"],
      ]);
    const { body } = await root.post("/webhooks", newWebhook);
    const changed = await root.patch(`/webhooks/${body.id}`, { url: "https://10.0.0.1/" });
    expect(changed.body.errors[0].pointer).toBe("/url");
  });

  test("there are 100 at most", async () => {
    const { root, sql } = await webhookWorld({ rateLimit: "off" });
    for (let count = 0; count < 99; count += 1) await root.post("/webhooks", newWebhook);
    const last = await Promise.all([1, 2, 3].map(() => root.post("/webhooks", newWebhook)));
    const codes = last.map(({ status, body }) => body.code ?? status);
    expect(codes.toSorted()).toEqual([201, "too_many_webhooks", "too_many_webhooks"]);
    expect((await sql`select count(*)::int as count from webhooks`)[0]?.["count"]).toBe(100);
  });
});

test("a test message is sent at once, and the response has its outcome", async () => {
  const { root, receiver, webhookTo, deliveriesOf } = await webhookWorld();
  const there = receiver(() => new Response("x".repeat(2_000), { status: 200 }));
  const { path, id } = await webhookTo(there, { enabled: false });
  const good = await root.post(`${path}/test`);
  expect(good.body).toEqual({
    delivered: true,
    response_status: 200,
    response_body: "x".repeat(1_024),
    error: null,
    duration_ms: expect.any(Number),
  });
  expect(there.received[0]?.body).toMatchObject({ type: "webhook.test", subject: id });
  there.answer = () => new Response("no", { status: 500 });
  const bad = await root.post(`${path}/test`);
  expect([bad.body.delivered, bad.body.response_status]).toEqual([false, 500]);
  there.answer = () => new Promise(() => {});
  const slow = await root.post(`${path}/test`);
  expect([slow.status, slow.body.delivered, slow.body.response_status]).toEqual([200, false, null]);
  there.close();
  const gone = await root.post(`${path}/test`);
  expect([gone.body.delivered, gone.body.error]).toEqual([false, expect.any(String)]);
  expect(await deliveriesOf(path)).toEqual([]);
});

test("without a webhook, nothing listens for events", async () => {
  const { ctx, root, start } = await webhookWorld();
  const activity: boolean[] = [];
  ctx.eventSignal.setActive = (_, isActive) => void activity.push(isActive);
  start();
  await until(() => activity.length > 2);
  expect(activity).not.toContain(true);
  const { body } = await root.post("/webhooks", newWebhook);
  await until(() => activity.at(-1) === true);
  await root.patch(`/webhooks/${body.id}`, { enabled: false });
  await until(() => activity.at(-1) === false);
});
