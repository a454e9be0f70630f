import { expect, setSystemTime, test } from "bun:test";
import { once, purgeIdempotency } from "../../src/http/idempotency.ts";
import { PASSWORD, world } from "../support/world.ts";

async function retryWorld() {
  const here = await world({ trustedProxies: ["127.0.0.1"], rateLimit: "off" });
  const register = (key: string, email: string, more: { from?: string; password?: string } = {}) =>
    here.send("POST", "/api/v1/auth/register", {
      headers: {
        "content-type": "application/json",
        "idempotency-key": key,
        "x-forwarded-for": more.from ?? "198.51.100.1",
      },
      body: JSON.stringify({ email, password: more.password ?? PASSWORD }),
    });
  return { ...here, register };
}

test("of fifty registrations with one key one creates a user, and every retry gets its response", async () => {
  const { register, sql } = await retryWorld();
  for (let round = 0; round < 4; round += 1) {
    const email = `person-${round}@example.com`;
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => register(`key-${round}`, email)),
    );
    const codes = new Set(answers.map(({ status, body }) => (status === 201 ? "201" : body.code)));
    expect([...codes].filter((code) => !["201", "request_in_progress"].includes(code))).toEqual([]);
    const retry = await register(`key-${round}`, email);
    expect([retry.status, retry.headers.get("idempotency-replayed")]).toEqual([201, "true"]);
    expect(retry.headers.get("location")).toBe("/api/v1/users/me");
    for (const { status, body } of answers) if (status === 201) expect(body).toEqual(retry.body);
  }
  expect((await sql`select 1 from users`).length).toBe(4);
});

test("the same key with another body is refused, and does nothing", async () => {
  const { register, sql } = await retryWorld();
  expect((await register("k", "ada@example.com")).status).toBe(201);
  for (const answer of [
    await register("k", "eve@example.com"),
    await register("k", "ada@example.com", { password: "another stable of horses" }),
  ])
    expect([answer.status, answer.body.code]).toEqual([422, "idempotency_key_reused"]);
  // Another client's key is another key.
  expect((await register("k", "bob@example.com", { from: "203.0.113.5" })).status).toBe(201);
  expect((await sql`select 1 from users`).length).toBe(2);
});

test("a refusal is replayed as well; a request that failed validation may be corrected and sent again", async () => {
  const { register } = await retryWorld();
  await register("first", "ada@example.com");
  const taken = await register("second", "ada@example.com");
  const again = await register("second", "ada@example.com");
  for (const answer of [taken, again])
    expect([answer.status, answer.body.code]).toEqual([409, "email_taken"]);
  expect(again.headers.get("idempotency-replayed")).toBe("true");
  const short = await register("third", "bob@example.com", { password: "short" });
  expect((await register("third", "bob@example.com", { password: "short" })).body.errors).toEqual(
    short.body.errors,
  );
  for (const key of ["with blank", "ü", "x".repeat(256)])
    expect((await register(key, "carl@example.com")).status).toBe(422);
});

test("finished work is answered although its response cannot be stored; failed work may be done again", async () => {
  const { ctx, sql, logged } = await retryWorld();
  const request = (key: string) => ({
    actor: { kind: "operator" as const },
    route: "test",
    body: {},
    ...{ headers: { "idempotency-key": key }, set: { headers: {} } },
  });
  // The work renames the table: as if the database were unavailable afterwards.
  const done = await once(ctx, request("kept"), async () => {
    await sql`alter table idempotency rename to away`;
    return "done";
  });
  await sql`alter table away rename to idempotency`;
  expect(done).toBe("done");
  expect(logged.map(({ sentence }) => sentence)).toEqual([
    "The response to an Idempotency-Key could not be stored.",
  ]);
  const failing = () => Promise.reject(new Error("no luck"));
  expect(once(ctx, request("again"), failing)).rejects.toThrow("no luck");
  await Bun.sleep(50);
  expect(await once(ctx, request("again"), async () => "luck")).toBe("luck");
});

test("an abandoned request is taken over after a while, and then cannot change the stored response", async () => {
  const { ctx } = await retryWorld();
  const request = {
    actor: { kind: "operator" as const },
    route: "test",
    body: {},
    ...{ headers: { "idempotency-key": "k" }, set: { headers: {} } },
  };
  const slow = Promise.withResolvers<string>();
  const first = once(ctx, request, () => slow.promise);
  await Bun.sleep(50);
  expect(once(ctx, request, async () => "second")).rejects.toMatchObject({
    code: "request_in_progress",
  });
  await Bun.sleep(50);
  setSystemTime(Date.now() + 21_000);
  expect(await once(ctx, request, async () => "second")).toBe("second");
  slow.resolve("first");
  expect(await first).toBe("first");
  expect(await once(ctx, request, async () => "third")).toBe("second");
});

test("stored rows reveal no password, and are deleted after a day", async () => {
  const { register, sql, ctx } = await retryWorld();
  await register("k", "ada@example.com");
  const kept = JSON.stringify(
    await sql`select encode(key, 'escape'), encode(body, 'escape'), outcome from idempotency`,
  );
  expect(kept).not.toContain("horse");
  expect(await purgeIdempotency(ctx)).toBe(0);
  setSystemTime(Date.now() + 86_401_000);
  expect((await register("k", "bob@example.com")).status).toBe(201);
  setSystemTime(Date.now() + 86_402_000);
  expect(await purgeIdempotency(ctx)).toBe(1);
});
