/** The commands `bunker webhooks …`, beside a running server. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
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

  await command(["users", "promote", "ada@example.com"], { cwd });
  const form = new URLSearchParams({
    username: "ada@example.com",
    password: "correct horse battery staple",
  });
  const login = await fetch(`${server.url}/api/v1/auth/login`, { method: "POST", body: form });
  const { access_token: token } = (await login.json()) as { access_token: string };
  await fetch(`${server.url}/api/v1/webhooks/${id}`, {
    method: "PATCH",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ enabled: false }),
  });
  expect((await command(["webhooks", "list"], { cwd })).out).toContain(`${id}  off `);
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
});
