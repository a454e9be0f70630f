import { expect, test } from "bun:test";
import { eq } from "drizzle-orm";
import { pgTable, text } from "drizzle-orm/pg-core";
import { resourceColumns } from "../src/db/columns.ts";
import { openDatabase } from "../src/db/db.ts";
import { deleteRow, getRow, insertRow, listRows, updateRow } from "../src/db/rows.ts";
import { freshDatabase } from "./support/postgres.ts";

const notes = pgTable("notes", { ...resourceColumns, owner: text("owner"), text: text("text") });
const isOf = (owner: string) => eq(notes.owner, owner);

async function place() {
  const database = openDatabase({
    place: await freshDatabase("empty"),
    poolSize: 2,
    connectTimeoutSeconds: 5,
    statementTimeoutSeconds: 5,
  });
  await database.sql`create table notes (id uuid primary key, created_at timestamptz(3) not null,
    updated_at timestamptz(3) not null, owner text, text text)`;
  let now = 1_800_000_000_000;
  const ctx = { db: database.db, now: () => new Date(now) };
  const pass = (ms: number) => {
    now += ms;
  };
  return { ctx, pass, close: database.close };
}

test("a row is read, changed and deleted only if `where` allows it", async () => {
  const { ctx, close } = await place();
  const { id } = await insertRow(ctx, notes, { owner: "ada", text: "tea" });
  const others = { id, where: isOf("eve") };
  const notFound = { code: "not_found" };
  await expect(getRow(ctx, notes, others)).rejects.toMatchObject(notFound);
  const change = updateRow(ctx, notes, { ...others, set: { text: "" } });
  await expect(change).rejects.toMatchObject(notFound);
  await expect(deleteRow(ctx, notes, others)).rejects.toMatchObject(notFound);
  const own = { id, where: isOf("ada") };
  expect(await getRow(ctx, notes, own)).toMatchObject({ owner: "ada", text: "tea" });
  expect(await deleteRow(ctx, notes, own)).toMatchObject({ id });
  await expect(getRow(ctx, notes, own)).rejects.toMatchObject(notFound);
  await close();
});

test("two changes of a row in the same millisecond have two versions", async () => {
  const { ctx, close } = await place();
  const first = await insertRow(ctx, notes, { owner: "ada", text: "tea" });
  const one = { id: first.id, where: isOf("ada") };
  const second = await updateRow(ctx, notes, { ...one, set: { text: "milk" } });
  const third = await updateRow(ctx, notes, { ...one, set: {} });
  const times = [first, second, third].map(({ updatedAt }) => updatedAt.getTime());
  expect(new Set(times).size).toBe(3);
  expect(third).toMatchObject({ text: "milk", createdAt: first.createdAt });
  await close();
});

test("of two changes to the same version, the database takes one, and the other is stale", async () => {
  const { ctx, close } = await place();
  const { id, updatedAt } = await insertRow(ctx, notes, { owner: "ada", text: "tea" });
  const one = { id, versions: [updatedAt], where: isOf("ada") };
  const results = await Promise.allSettled(
    ["milk", "water"].map((it) => updateRow(ctx, notes, { ...one, set: { text: it } })),
  );
  expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  const { updatedAt: current } = await getRow(ctx, notes, one);
  const stale = { code: "stale", version: current };
  await expect(deleteRow(ctx, notes, one)).rejects.toMatchObject(stale);
  await deleteRow(ctx, notes, { ...one, versions: [updatedAt, current] });
  await close();
});

test("a list is read newest first, page by page, also if rows have the same time", async () => {
  const { ctx, pass, close } = await place();
  const made: string[] = [];
  for (let at = 0; at < 7; at += 1) {
    made.unshift((await insertRow(ctx, notes, { owner: "ada", text: String(at) })).id);
    if (at % 3 === 0) pass(1);
  }
  await insertRow(ctx, notes, { owner: "eve", text: "" });
  const list = listRows(ctx, notes, isOf("ada"));
  const seen: { createdAt: Date; id: string }[] = [];
  let page = await list.rows({ start: { skip: 0 }, limit: 2 });
  for (let last = page.at(-1); last; last = page.at(-1)) {
    seen.push(...page);
    page = await list.rows({ start: last, limit: 2 });
  }
  expect(seen.map(({ createdAt }) => createdAt.getTime())).toEqual(
    seen.map(({ createdAt }) => createdAt.getTime()).toSorted((a, b) => b - a),
  );
  expect(seen.map(({ id }) => id).toSorted()).toEqual(made.toSorted());
  expect(await list.rows({ start: { skip: 5 }, limit: 9 })).toHaveLength(2);
  expect(await list.count()).toBe(7);
  await close();
});

test("without a condition, no row is read, changed or deleted", async () => {
  const { ctx, close } = await place();
  const { id } = await insertRow(ctx, notes, { owner: "ada", text: "tea" });
  const any = { id, where: undefined };
  const refused = "without a condition";
  await expect(getRow(ctx, notes, any)).rejects.toThrow(refused);
  await expect(updateRow(ctx, notes, { ...any, set: { text: "" } })).rejects.toThrow(refused);
  await expect(deleteRow(ctx, notes, any)).rejects.toThrow(refused);
  const list = listRows(ctx, notes, undefined);
  await expect(list.rows({ start: { skip: 0 }, limit: 9 })).rejects.toThrow(refused);
  expect(() => list.count()).toThrow(refused);
  expect(await getRow(ctx, notes, { id, where: isOf("ada") })).toMatchObject({ text: "tea" });
  await close();
});
