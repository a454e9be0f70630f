/** The commands `bunker webhooks …`, beside a running server. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { Webhook } from "standardwebhooks";
import { command, serve, usedFolder } from "../support/program.ts";
import { until } from "../support/until.ts";
import { openReceiver } from "../support/webhook-receiver.ts";

setDefaultTimeout(60_000);
const there = openReceiver();
afterAll(() => there.close());

test("an operator creates, tests and lists webhooks, sees deliveries and sends one again", async () => {
  const cwd = await usedFolder();
  const env = { WEBHOOKS_ALLOW: `127.0.0.1:${new URL(there.url).port}` };
  const server = await serve({ cwd, env });
  const run = async (...args: string[]) => {
    const { code, out, err } = await command(["webhooks", ...args, "--json"], { cwd, env });
    return { code, err, json: out === "" ? undefined : JSON.parse(out) };
  };
  expect((await run("list")).json).toEqual([]);
  const types = "user.created,user.deleted";
  const created = await run("create", there.url, "--events", types, "--description", "Test");
  expect(created.json).toMatchObject({
    url: there.url,
    events: ["user.created", "user.deleted"],
    description: "Test",
    ordered: false,
    secret: expect.stringMatching(/^whsec_/),
  });
  const { id, secret, ...shown } = created.json;
  expect((await run("list")).json).toEqual([{ id, ...shown }]);
  expect([(await run("test", id)).json.delivered, there.types()]).toEqual([true, ["webhook.test"]]);
  there.answer = () => new Response("no", { status: 500 });
  const refused = await run("test", id);
  expect([refused.code, refused.json.response_status]).toEqual([1, 500]);
  there.answer = () => new Response("ok");

  await fetch(`${server.url}/api/v1/auth/register`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: "ada@example.com", password: "correct horse battery staple" }),
  });
  await until(() => there.types().at(-1) === "user.created");
  const isDelivered = async () =>
    (await run("deliveries", id, "--state", "delivered")).json.length === 1;
  await until(isDelivered);
  const [delivery] = (await run("deliveries", id)).json;
  expect(delivery).toMatchObject({ event_type: "user.created", response_status: 200 });
  const count = there.received.length;
  expect((await run("redeliver", delivery.id)).json.state).toBe("waiting");
  await until(() => there.received.length > count);
  expect(there.ids().at(-1)).toBe(delivery.event_id);
  const text = await command(["webhooks", "list"], { cwd, env });
  expect(text.out).toContain(`${id}  working   ${there.url}  ${types}`);
  const log = await command(["webhooks", "deliveries", id], { cwd, env });
  expect(log.out).toContain(delivery.id);
  expect(await server.end("SIGTERM")).toBe(0);
});

test("an operator disables, enables and deletes a webhook, and rotates its secret", async () => {
  const cwd = await usedFolder();
  const env = { WEBHOOKS_ALLOW: `127.0.0.1:${new URL(there.url).port}` };
  const server = await serve({ cwd, env });
  const run = (...args: string[]) => command(["webhooks", ...args], { cwd, env });
  const { id, secret: first } = JSON.parse((await run("create", there.url, "--json")).out);

  const disabled = await run("disable", id);
  expect(disabled.out).toStartWith(`Disabled ${id}  off       ${there.url}`);
  expect(disabled.err).toContain("Changed:");
  const again = await run("disable", id);
  expect(again.out).toStartWith(`Nothing to change: ${id}`);
  expect(again.err).not.toContain("Changed:");
  await fetch(`${server.url}/api/v1/auth/register`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: "bob@example.com", password: "correct horse battery staple" }),
  });
  const count = there.received.length;
  const enabled = await run("enable", id, "--json");
  expect(JSON.parse(enabled.out)).toMatchObject({ id, enabled: true, disabled_reason: null });
  await until(() => there.types().slice(count).includes("user.created"));

  const { secret: second, ...rotated } = JSON.parse((await run("rotate-secret", id, "--json")).out);
  expect(rotated).toMatchObject({ id, previous_secret_until: expect.any(String) });
  expect((await run("test", id)).code).toBe(0);
  const sent = there.received.findLast(({ body }) => body.type === "webhook.test");
  for (const secret of [first, second])
    expect(new Webhook(secret).verify(sent?.text ?? "", sent?.headers ?? {})).toEqual(sent?.body);
  expect((await run("rotate-secret", id)).out).toMatch(/^secret {2}whsec_.*\n.*24 hours/);

  const unconfirmed = await run("delete", id);
  expect([unconfirmed.code, unconfirmed.err]).toEqual([2, expect.stringContaining("--yes")]);
  expect(unconfirmed.err).toContain(there.url);
  expect(JSON.parse((await run("list", "--json")).out)).toHaveLength(1);
  expect((await run("delete", id, "--yes")).out).toStartWith(`Deleted ${id}`);
  expect(JSON.parse((await run("list", "--json")).out)).toEqual([]);
  const types = "webhook.updated,webhook.secret_rotated,webhook.deleted";
  const events = await command(["events", "list", "--type", types], { cwd });
  expect(events.out.match(/webhook\.\w+ .* by operator/g)).toHaveLength(5);
  expect(await server.end("SIGTERM")).toBe(0);
});

test("events lag shows which webhook is behind, and by how much", async () => {
  const cwd = await usedFolder();
  const env = { WEBHOOKS_ALLOW: `127.0.0.1:${new URL(there.url).port}` };
  const server = await serve({ cwd, env });
  const { out } = await command(["webhooks", "create", there.url, "--json"], { cwd, env });
  const lag = async () =>
    JSON.parse((await command(["events", "lag", "--json"], { cwd, env })).out)[0];
  await until(async () => (await lag()).events_behind === 0);
  there.answer = () => new Response("no", { status: 500 });
  await fetch(`${server.url}/api/v1/auth/register`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: "eve@example.com", password: "correct horse battery staple" }),
  });
  await until(async () => (await lag()).events_behind === 1);
  const { sink, waited_seconds: waited } = await lag();
  expect(sink).toBe(`webhook ${JSON.parse(out).id}`);
  expect(waited).toBeGreaterThan(0);
  there.answer = () => new Response("ok");
  await until(async () => (await lag()).events_behind === 0);
  expect(await server.end("SIGTERM")).toBe(0);
});

test("a wrong type, URL or ID is refused with a reason", async () => {
  const cwd = await usedFolder();
  const refusalOf = async (...args: string[]) => {
    const { code, err } = await command(["webhooks", ...args], { cwd });
    return [code, err];
  };
  const said = (text: string) => expect.stringContaining(text);
  const unknown = ["create", "https://example.com/", "--events", "user.creatd"];
  expect(await refusalOf(...unknown)).toEqual([2, said("Did you mean user.created?")]);
  expect(await refusalOf("create", "https://10.0.0.1/")).toEqual([1, said("url has an IP")]);
  expect(await refusalOf("test", "x")).toEqual([2, said("bunker webhooks list")]);
  expect(await refusalOf("deliveries", crypto.randomUUID())).toEqual([1, said("Not found")]);
  const state = ["deliveries", crypto.randomUUID(), "--state", "lost"];
  expect(await refusalOf(...state)).toEqual([2, said("waiting, delivered")]);
  expect(await refusalOf("redeliver", "x")).toEqual([1, said("Not found")]);
  for (const verb of ["enable", "disable", "rotate-secret", "delete"]) {
    expect(await refusalOf(verb, "x")).toEqual([2, said("bunker webhooks list")]);
    expect(await refusalOf(verb, crypto.randomUUID())).toEqual([1, said("Not found")]);
  }
});
