/** Drives the notes of docs/add-a-resource.md on a server, as their clients do. */
import { expect } from "bun:test";
import type { Answer, Client, Send } from "./api.ts";

/** Everything that the guide promises, except what the database shows. */
export async function driveNotes(client: Client): Promise<{ adaId: string; eveId: string }> {
  const ada = await client.register("ada@example.com");
  const eve = await client.register("eve@example.com");
  const notes = "/api/v1/notes";

  expect((await client.anonymous(`POST ${notes}`, { text: "x" })).status).toBe(401);
  const faults = [{}, { text: "" }, { text: "x".repeat(10_001) }, { text: "x", owner: "eve" }];
  for (const fault of faults) expect((await ada.send(`POST ${notes}`, fault)).status).toBe(422);

  const made: Answer[] = [];
  for (const text of ["one", "two", "three"]) made.push(await ada.send(`POST ${notes}`, { text }));
  expect(made.map(({ status }) => status)).toEqual([201, 201, 201]);
  const path = `${notes}/${made[2]?.body.id}`;
  expect(made[2]?.headers.get("location")).toBe(path);
  await expectPages(ada.send, notes);
  await expectVersions(ada.send, path);
  await expectPrivate(eve.send, path, notes);

  expect((await ada.send(`DELETE ${path}`)).status).toBe(204);
  expect((await ada.send(`GET ${path}`)).body.code).toBe("not_found");
  const { body: events } = await ada.send("GET /api/v1/users/me/events");
  const types = (events as { type: string; data: object }[]).filter(({ type }) =>
    type.startsWith("note."),
  );
  expect(types.map(({ type }) => type)).toEqual([
    "note.deleted",
    "note.updated",
    "note.created",
    "note.created",
    "note.created",
  ]);
  expect(types[0]?.data).toMatchObject({ note_id: made[2]?.body.id });
  await expectDescribed(client);
  expect((await eve.send(`POST ${notes}`, { text: "of Eve" })).status).toBe(201);
  return { adaId: ada.id, eveId: eve.id };
}

async function expectPages(send: Send, notes: string): Promise<void> {
  const first = await send(`GET ${notes}?limit=2&total=true`);
  expect(first.headers.get("x-total-count")).toBe("3");
  const [, next = ""] = /^<([^>]+)>; rel="next"$/.exec(first.headers.get("link") ?? "") ?? [];
  expect(next).toStartWith(`${notes}?limit=2&total=true&cursor=`);
  const second = await send(`GET ${next}`);
  expect(second.headers.get("link")).toBeNull();
  const texts = [...first.body, ...second.body].map(({ text }) => text);
  expect(texts).toEqual(["three", "two", "one"]);
  expect((await send(`GET ${notes}?limit=500`)).status).toBe(422);
}

async function expectVersions(send: Send, path: string): Promise<void> {
  const read = await send(`GET ${path}`);
  const etag = read.headers.get("etag") ?? "";
  expect([read.status, read.body.text]).toEqual([200, "three"]);
  expect((await send(`GET ${path}`, undefined, { "if-none-match": etag })).status).toBe(304);
  const changed = await send(`PATCH ${path}`, { text: "changed" }, { "if-match": etag });
  expect([changed.status, changed.body.text]).toEqual([200, "changed"]);
  const current = changed.headers.get("etag") ?? "";
  expect(current).not.toBe(etag);
  for (const method of ["PATCH", "DELETE"]) {
    const body = method === "PATCH" ? { text: "lost" } : undefined;
    const refused = await send(`${method} ${path}`, body, { "if-match": etag });
    expect([refused.status, refused.body.code]).toEqual([412, "stale"]);
    expect(refused.headers.get("etag")).toBe(current);
  }
  expect((await send(`GET ${path}`)).body.text).toBe("changed");
}

/** Another user learns nothing about a note, not even that it exists. */
async function expectPrivate(send: Send, path: string, notes: string): Promise<void> {
  const answers = [
    await send(`GET ${path}`),
    await send(`PATCH ${path}`, { text: "of Eve" }),
    await send(`PATCH ${path}`, { text: "of Eve" }, { "if-match": '"abc"' }),
    await send(`DELETE ${path}`),
  ];
  for (const { status, body } of answers) expect([status, body.code]).toEqual([404, "not_found"]);
  expect((await send(`GET ${notes}`)).body).toEqual([]);
}

async function expectDescribed({ anonymous }: Client): Promise<void> {
  const { paths, components } = (await anonymous("GET /openapi.json")).body;
  const operations = [
    ...Object.values<{ operationId: string }>(paths["/api/v1/notes"]),
    ...Object.values<{ operationId: string }>(paths["/api/v1/notes/{id}"]),
  ];
  const names = ["listNotes", "createNote", "getNote", "updateNote", "deleteNote"];
  expect(operations.map(({ operationId }) => operationId)).toEqual(names);
  const update = paths["/api/v1/notes/{id}"].patch;
  expect(Object.keys(update.responses)).toEqual(expect.arrayContaining(["404", "412", "422"]));
  expect(Object.keys(components.schemas.Note.properties)).toContain("text");
}
