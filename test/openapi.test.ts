import { expect, test } from "bun:test";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Value } from "@sinclair/typebox/value";
import { type EventType, eventDefinitions, eventTypes } from "../src/kit/event-types.ts";
import { type Answer, world } from "./support/world.ts";

const document = async (): Promise<Answer["body"]> => {
  const { send } = await world();
  return (await send("GET", "/openapi.json")).body;
};

test("the document is valid OpenAPI, by its schema and by Redocly's recommended rules", async () => {
  const it = await document();
  expect(await new Validator().validate(it)).toMatchObject({ valid: true });
  const config = await createConfig({ extends: ["recommended"] });
  const found = await lintFromString({
    source: JSON.stringify(it),
    absoluteRef: "/openapi.json",
    config,
  });
  const problems = found.map(({ ruleId, location }) => `${ruleId} ${location[0]?.pointer}`);
  // Two rules do not fit: health checks, public keys and metadata have no errors, and the success
  // of a WebSocket is 101.
  expect(problems.sort()).toEqual([
    "operation-2xx-response #/paths/~1api~1v1~1events~1ws/get/responses",
    "operation-2xx-response #/paths/~1api~1v1~1users~1me~1events~1ws/get/responses",
    "operation-4xx-response #/paths/~1.well-known~1jwks.json/get/responses",
    "operation-4xx-response #/paths/~1.well-known~1oauth-authorization-server/get/responses",
    "operation-4xx-response #/paths/~1livez/get/responses",
    "operation-4xx-response #/paths/~1readyz/get/responses",
    "operation-4xx-response #/paths/~1readyz~1server/get/responses",
    "operation-4xx-response #/paths/~1version/get/responses",
  ]);
});

test("every operation says who may call it, what it takes, and what can go wrong", async () => {
  const { paths, components } = await document();
  const operations = Object.entries<Answer["body"]>(paths).flatMap(([path, methods]) =>
    Object.entries<Answer["body"]>(methods).map(([method, it]) => ({
      name: `${method} ${path}`,
      it,
    })),
  );
  for (const { name, it } of operations) {
    const statuses = Object.keys(it.responses);
    const expected = [
      ...(it.security.length > 0 ? ["401"] : []),
      ...(it.requestBody
        ? ["400", "408", "413", "415", ...(name.includes(" /oauth/") ? [] : ["422"])]
        : []),
    ];
    expect([name, typeof it.summary, typeof it.operationId]).toEqual([name, "string", "string"]);
    expect(statuses).toEqual(expect.arrayContaining(expected));
  }
  const problems = operations
    .filter(({ name }) => !name.startsWith("get /readyz") && !name.includes(" /oauth/"))
    .flatMap(({ it }) => Object.entries<Answer["body"]>(it.responses))
    .filter(([status]) => Number(status) >= 400);
  for (const [, { content }] of problems)
    expect(Object.keys(content)).toEqual(["application/problem+json"]);
  for (const [status, { content }] of problems)
    for (const code of Object.keys(content["application/problem+json"].examples))
      expect(components.examples[code].value).toMatchObject({ code, status: Number(status) });
  const login = paths["/api/v1/auth/login"].post;
  expect(Object.keys(login.requestBody.content)).toEqual([
    "application/json",
    "application/x-www-form-urlencoded",
  ]);
  expect(components.securitySchemes.signIn.flows.password.tokenUrl).toBe("/api/v1/auth/login");
});

test("the documentation page loads nothing from other hosts", async () => {
  const { send } = await world();
  const page = await send("GET", "/docs");
  expect(page.body).not.toMatch(/(src|href)="https?:/);
  expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
  const assets = [...String(page.body).matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(
    (match) => match[1] ?? "",
  );
  expect(assets.length).toBe(3);
  for (const asset of assets) expect((await send("GET", asset)).status).toBe(200);
  for (const name of ["..%2fpackage.json", "constructor", "__proto__"])
    expect((await send("GET", `/docs/assets/${name}`)).status).toBe(404);
});

test("responses are not cached, except those that never change", async () => {
  const { send } = await world();
  const kept = async (path: string) => (await send("GET", path)).headers.get("cache-control");
  expect(await kept("/docs/assets/swagger-ui.css")).toBe("public, max-age=3600");
  for (const path of ["/api/v1/users/me", "/nothing", "/livez", "/docs", "/problems/internal"])
    expect([path, await kept(path)]).toEqual([path, "no-store"]);
});

test("the document describes the webhook of each event type, with an example that matches", async () => {
  const { webhooks, components } = await document();
  expect(Object.keys(webhooks)).toEqual(eventTypes);
  for (const [type, { post }] of Object.entries<Answer["body"]>(webhooks)) {
    const { example } = post.requestBody.content["application/json"];
    expect([type, Value.Check(eventDefinitions[type as EventType].data, example.data)]).toEqual([
      type,
      true,
    ]);
    for (const name of components.schemas.Event.required) expect(example).toHaveProperty(name);
  }
});
