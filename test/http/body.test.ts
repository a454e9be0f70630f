import { expect, test } from "bun:test";
import { createClient } from "../../src/modules/oauth/clients.ts";
import { until } from "../support/until.ts";
import { PASSWORD, world } from "../support/world.ts";

const json = { "content-type": "application/json" };

test("white space around the parts of a header is accepted", async () => {
  const { newUser, send } = await world();
  const ada = await newUser();
  for (const authorization of [
    `Bearer   ${ada.token}`,
    `Bearer\t${ada.token}`,
    `bearer \t ${ada.token}`,
    `BEARER ${ada.token}`,
  ]) {
    const answer = await send("GET", "/api/v1/users/me", { headers: { authorization } });
    expect([authorization.slice(0, 9), answer.status]).toEqual([authorization.slice(0, 9), 200]);
  }
  const login = (type: string, body: string) =>
    send("POST", "/api/v1/auth/login", { headers: { "content-type": type }, body });
  const credentials = { username: "ada@example.com", password: PASSWORD };
  for (const type of [
    "application/json ; charset=utf-8",
    "application/json\t;\tcharset=utf-8",
    'Application/JSON;charset="utf-8"',
    "application/json;",
    "application/merge-patch+json ;charset=utf-8",
  ])
    expect([type, (await login(type, JSON.stringify(credentials))).status]).toEqual([type, 200]);
  const form = String(new URLSearchParams(credentials));
  expect((await login("application/x-www-form-urlencoded ; charset=UTF-8", form)).status).toBe(200);
});

test("the secret of a client or of /metrics may follow any white space", async () => {
  const { ctx, send } = await world({ metricsToken: "k3Jd0sLq8vXz2mNb7TyUw5RfGh1PcAe9" });
  const { client, secret } = await createClient(ctx, { kind: "operator" }, "Reports");
  const basic = btoa(`${client.id}:${secret}`);
  for (const blank of [" ", "   ", "\t"]) {
    const metrics = await send("GET", "/metrics", {
      headers: { authorization: `Bearer${blank}k3Jd0sLq8vXz2mNb7TyUw5RfGh1PcAe9` },
    });
    expect(metrics.status).toBe(200);
    const token = await send("POST", "/oauth/token", {
      headers: {
        authorization: `basic${blank}${basic}`,
        "content-type": "application/x-www-form-urlencoded",
      },
      body: "grant_type=client_credentials",
    });
    expect(token.status).toBe(200);
  }
});

test("a compressed body is refused, and the response says what is accepted", async () => {
  const { send } = await world();
  const register = (coding: string, body: string | Uint8Array<ArrayBuffer>) =>
    send("POST", "/api/v1/auth/register", {
      headers: { ...json, "content-encoding": coding },
      body,
    });
  for (const coding of ["gzip", "br", "identity, gzip", "GZIP"]) {
    const answer = await register(coding, Bun.gzipSync("{}"));
    expect([answer.status, answer.body.code]).toEqual([415, "unsupported_media_type"]);
    expect(answer.body.detail).toBe("Send the body without Content-Encoding");
    expect(answer.headers.get("accept-encoding")).toBe("identity");
  }
  expect((await register("identity", "{}")).status).toBe(422);
});

test("an empty body of unknown length counts as no body if the body is optional", async () => {
  const { newUser, send } = await world();
  const empty = () => new Blob([]).stream();
  for (const [method, path, type] of [
    ["POST", "/api/v1/auth/logout", "application/json"],
    ["POST", "/api/v1/auth/logout", undefined],
    ["DELETE", "/api/v1/users/me", undefined],
  ] as const) {
    const { token } = await newUser();
    const headers = { authorization: `Bearer ${token}`, ...(type ? { "content-type": type } : {}) };
    expect((await send(method, path, { headers, body: empty() })).status).toBe(204);
  }
});

test("requests whose bodies do not arrive are no load", async () => {
  const { ctx, send } = await world();
  const bodies: ReadableStreamDefaultController<Uint8Array>[] = [];
  const login = () =>
    send("POST", "/api/v1/auth/login", {
      headers: json,
      body: new ReadableStream({ start: (body) => void bodies.push(body) }),
    });
  const responses = Array.from({ length: 100 }, login);
  await until(() => ctx.load.isIdle());
  for (const body of bodies) body.close();
  expect(new Set((await Promise.all(responses)).map(({ status }) => status))).toEqual(
    new Set([422]),
  );
  await until(() => ctx.load.isIdle());
});
