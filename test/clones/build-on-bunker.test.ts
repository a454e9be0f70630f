/** docs/build-on-bunker.md, applied to a copy of the repository exactly as it stands there. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { openDatabase } from "../../src/db/db.ts";
import { command } from "../support/program.ts";
import { clientOf } from "./api.ts";
import { applyGuide, readGuide } from "./apply-guide.ts";
import { copyOfRepository, openPlace } from "./scratch.ts";

setDefaultTimeout(300_000);
const DAY_MS = 86_400_000;

test("a product has a field of users, a setting, a job and a problem of its own", async () => {
  const copy = copyOfRepository();
  const guide = await readGuide("build-on-bunker.md");
  expect(guide.commands).toEqual(["bun run db:generate:product add_profiles"]);
  await applyGuide(copy, guide);
  copy.run("bun", "src/build/declarations.ts");
  copy.run("bun", "run", "check:types");
  copy.run("bun", "run", "check:lint");
  const parts = ["architecture", "config", "docs", "openapi"].map((it) => `test/${it}.test.ts`);
  copy.run("bun", "test", "--timeout", "60000", ...parts);

  const { place, env, serve } = await openPlace();
  const words = [process.execPath, join(copy.folder, "src/main.ts")];
  const refused = await command(["config"], { words, env: { ...env, PROFILES_KEPT_DAYS: "0" } });
  expect(refused.err).toContain("PROFILES_KEPT_DAYS must be a whole number from 1 to 36500");

  const server = await serve(words);
  const { register, anonymous } = clientOf(server.url);
  const ada = await register("ada@example.com");
  const path = "/api/v1/profile";
  expect((await anonymous(`GET ${path}`)).status).toBe(401);
  expect((await ada.send(`GET ${path}`)).body).toEqual({ city: null });
  for (const city of ["Turin", "London"])
    expect((await ada.send(`PUT ${path}`, { city })).body).toEqual({ city });
  expect((await ada.send(`GET ${path}`)).body).toEqual({ city: "London" });
  expect((await ada.send(`PUT ${path}`, { city: "" })).status).toBe(422);
  const events = (await ada.send("GET /api/v1/users/me/events")).body as { type: string }[];
  expect(events.filter(({ type }) => type === "profile.updated")).toHaveLength(2);
  const page = await fetch(`${server.url}/problems/note_limit_reached`);
  expect(await page.text()).toContain("Delete a note first.");

  const { db, sql, close } = openDatabase({
    place,
    poolSize: 2,
    connectTimeoutSeconds: 5,
    statementTimeoutSeconds: 5,
  });
  const profiles = () => sql`select * from product_profiles`;
  const { productJobs } = await import(join(copy.folder, "src/product/jobs.ts"));
  const purge = (keptDays: number) =>
    productJobs["purge profiles"].run({
      config: { profilesKeptDays: keptDays },
      db,
      now: () => new Date(Date.now() + 2 * DAY_MS),
    });
  expect([await purge(3), await purge(1), await purge(1)]).toEqual([0, 1, 0]);
  await ada.send(`PUT ${path}`, { city: "Turin" });
  expect(await profiles()).toHaveLength(1);
  expect((await ada.send("DELETE /api/v1/users/me")).status).toBe(204);
  expect(await profiles()).toHaveLength(0);
  await close();
  await server.end("SIGTERM");
});
