/** A project that downloads its client from the server that it calls. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { emptyFolder, serve, usedFolder } from "../support/program.ts";

setDefaultTimeout(120_000);
const root = join(import.meta.dir, "../..");

/** By default, Eden makes Dates of these names and responses. */
const program = (url: string) => `
import { createClient, type User } from "./bunker.js";

const { api } = createClient("${url}");
const password = "correct horse battery staple";
const names = ["2026-01-01", "1/2/2026", "2026-01-01T00:00:00.000Z"];
const seen: unknown[] = [];
for (const [at, full_name] of names.entries()) {
  const email = \`ada\${at}@example.com\`;
  const made = await api.v1.auth.register.post({ email, password, full_name, username: "2026-01-0" + at });
  if (made.error || !("id" in made.data)) throw new Error(JSON.stringify(made.error));
  const user: User = made.data;
  seen.push([user.username, user.full_name, user.created_at.slice(0, 2)]);
}
const again = await api.v1.auth.register.post({ email: "ada0@example.com", password });
seen.push(again.error?.status === 409 && again.error.value.code);
const login = await api.v1.auth.login.post({ email: "ada0@example.com", password });
const headers = { authorization: \`Bearer \${login.data?.access_token}\` };
const sessions = await api.v1.users.me.sessions.get({ headers });
seen.push(sessions.data?.map(({ created_at }) => created_at.slice(0, 2)));
const changed = await api.v1.users.me.patch({ full_name: "1999-12-31" }, { headers });
seen.push(changed.data?.full_name?.slice(0, 4));
const list = await api.v1.users.get({ headers, query: { limit: 5 } });
seen.push(list.error?.status === 403 && list.error.value.code);
console.log(JSON.stringify(seen));
// @ts-expect-error a user does not have this field
void changed.data?.mail;
`;

const compilerOptions = {
  target: "ESNext",
  module: "Preserve",
  moduleResolution: "bundler",
  lib: ["ESNext", "DOM", "DOM.Iterable"],
  types: [],
  noEmit: true,
  strict: true,
  exactOptionalPropertyTypes: true,
  isolatedModules: true,
  verbatimModuleSyntax: true,
  skipLibCheck: false,
};

async function download(url: string, into: string): Promise<void> {
  for (const name of ["bunker.d.ts", "bunker.js"]) {
    const answer = await fetch(`${url}/client/${name}`);
    expect([name, answer.status]).toEqual([name, 200]);
    writeFileSync(join(into, name), await answer.text());
  }
}

test("a client from the server that it calls compiles, and gets what its types say", async () => {
  const server = await serve({ cwd: await usedFolder() });
  const folder = emptyFolder();
  await download(server.url, folder);
  mkdirSync(join(folder, "node_modules/@elysiajs"), { recursive: true });
  for (const name of ["elysia", "@elysiajs/eden"])
    symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
  writeFileSync(join(folder, "program.ts"), program(server.url));
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions }));

  const tsc = join(root, "node_modules/.bin/tsc");
  const compiled = spawnSync(tsc, ["-p", folder, "--pretty", "false"], { encoding: "utf8" });
  // Errors of the libraries are ignored: they are not ours, and `skipLibCheck` hides them.
  const errors = compiled.stdout.split("\n").filter((line) => /error TS/.test(line));
  expect(errors.filter((line) => !line.includes("node_modules"))).toEqual([]);

  const run = spawnSync(process.execPath, ["program.ts"], { cwd: folder, encoding: "utf8" });
  expect([run.stderr, run.status]).toEqual(["", 0]);
  expect(JSON.parse(run.stdout)).toEqual([
    ["2026-01-00", "2026-01-01", "20"],
    ["2026-01-01", "1/2/2026", "20"],
    ["2026-01-02", "2026-01-01T00:00:00.000Z", "20"],
    "email_taken",
    ["20"],
    "1999",
    "forbidden",
  ]);
  expect(await server.end("SIGTERM")).toBe(0);
});
