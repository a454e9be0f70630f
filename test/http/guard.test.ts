import { expect, test } from "bun:test";
import { bearer } from "@elysiajs/bearer";
import { Elysia } from "elysia";
import { guard } from "../../src/http/guard.ts";
import { problemPlugin } from "../../src/http/problems.ts";
import { routeTable } from "../../src/http/route-table.ts";
import { PASSWORD, world } from "../support/world.ts";

test("a route where a token is optional refuses an invalid one, whatever limits it names", async () => {
  const { ctx, newUser, pass } = await world();
  const { token } = await newUser();
  const app = new Elysia()
    .use(problemPlugin(ctx, routeTable()))
    .use(bearer())
    .use(guard(ctx))
    .get("/notes", ({ caller }) => caller?.user.email ?? "nobody", { optional: ["changes"] });
  const ask = async (authorization?: string) => {
    const headers = authorization ? { authorization } : {};
    const response = await app.handle(new Request("http://localhost/notes", { headers }));
    return `${response.status} ${response.headers.get("ratelimit-policy")}`;
  };
  expect(await ask()).toBe("200 null");
  expect(await ask(`Bearer ${token}`)).toBe("200 null");
  pass(3_600_000);
  expect(await ask(`Bearer ${token}`)).toBe('401 "requests";q=600;w=60');
  expect(await ask(`Bearer ${PASSWORD}`)).toStartWith("401");
});
