import { expect, setSystemTime, test } from "bun:test";
import { world } from "../support/world.ts";

async function versionedWorld() {
  const here = await world();
  const ada = await here.newUser();
  const sendAs =
    ({ token }: { token: string }) =>
    (request: string, headers: Record<string, string>, body?: object) => {
      const [method = "", path = ""] = request.split(" ");
      return here.send(method, `/api/v1${path}`, {
        headers: {
          authorization: `Bearer ${token}`,
          "content-type": "application/json",
          ...headers,
        },
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
    };
  const send = sendAs(ada);
  const tag = async () => (await ada.get("/users/me")).headers.get("etag") ?? "";
  return { ...here, ada, send, sendAs, tag };
}

test("a version that the client has is not sent again", async () => {
  const { send, tag } = await versionedWorld();
  const known = await tag();
  expect(known).toMatch(/^"[0-9a-z]+"$/);
  for (const header of [known, `W/${known}`, `"other", ${known}`, "*"]) {
    const answer = await send("GET /users/me", { "if-none-match": header });
    expect([header, answer.status, answer.body]).toEqual([header, 304, ""]);
    expect(answer.headers.get("etag")).toBe(known);
  }
  expect((await send("GET /users/me", { "if-none-match": '"other"' })).status).toBe(200);
});

test("a stale change is refused, and changes nothing", async () => {
  const { ada, send, tag } = await versionedWorld();
  const old = await tag();
  const first = await send("PATCH /users/me", { "if-match": old }, { full_name: "Ada" });
  expect([first.status, first.headers.get("etag")]).toEqual([200, await tag()]);
  for (const stale of [
    old,
    `W/${first.headers.get("etag")}`,
    '"nonsense!"',
    "garbage",
    '""',
    '"22222222222"',
    '"zzzzzzzzz"',
  ]) {
    const answer = await send("PUT /users/me", { "if-match": stale }, { full_name: "Eve" });
    expect([stale, answer.status, answer.body.code]).toEqual([stale, 412, "stale"]);
  }
  expect((await send("DELETE /users/me", { "if-match": old })).status).toBe(412);
  expect((await ada.get("/users/me")).body.full_name).toBe("Ada");
  const any = await send("PATCH /users/me", { "if-match": "*" }, { full_name: "Ada King" });
  expect(any.status).toBe(200);
  expect((await send("DELETE /users/me", { "if-match": await tag() })).status).toBe(204);
});

test("of twenty concurrent changes to one version, one succeeds; no version repeats, also if the clock goes back", async () => {
  const { send, tag } = await versionedWorld();
  const seen = new Set<string>();
  for (const day of [0, 1, -1, 0]) {
    setSystemTime(Date.now() + day * 60_000);
    const version = await tag();
    seen.add(version);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        send("PATCH /users/me", { "if-match": version }, { full_name: `Ada ${day} ${n}` }),
      ),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(412)]);
  }
  expect(seen.size).toBe(4);
});

test("a superuser reads and changes other users by version", async () => {
  const { superuser, ada, sendAs } = await versionedWorld();
  const root = await superuser();
  const send = (method: string, headers: Record<string, string>, body?: object) =>
    sendAs(root)(`${method} /users/${ada.id}`, headers, body);
  const known = (await root.get(`/users/${ada.id}`)).headers.get("etag") ?? "";
  expect((await send("GET", { "if-none-match": known })).status).toBe(304);
  expect((await send("PATCH", { "if-match": '"0"' }, { full_name: "X" })).body.code).toBe("stale");
  expect((await send("PATCH", { "if-match": known }, { full_name: "X" })).status).toBe(200);
  expect((await send("DELETE", { "if-match": known })).status).toBe(412);
  expect((await send("DELETE", {})).status).toBe(204);
  expect((await send("DELETE", { "if-match": known })).status).toBe(404);
});
