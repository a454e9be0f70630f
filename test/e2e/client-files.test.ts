/** A project that downloads its client from the server that it calls. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { client, emptyFolder, freePort, serve, usedFolder } from "../support/program.ts";

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

/** A project with the packages that the client needs. */
function prepare(folder: string, text: string): void {
  mkdirSync(join(folder, "node_modules/@elysiajs"), { recursive: true });
  for (const name of ["elysia", "@elysiajs/eden"])
    symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
  writeFileSync(join(folder, "program.ts"), text);
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions }));
}

/** Its errors, except those of the libraries: they are not ours, and `skipLibCheck` hides them. */
function compile(folder: string): string[] {
  const tsc = join(root, "node_modules/.bin/tsc");
  const compiled = spawnSync(tsc, ["-p", folder, "--pretty", "false"], { encoding: "utf8" });
  const errors = compiled.stdout.split("\n").filter((line) => /error TS/.test(line));
  return errors.filter((line) => !line.includes("node_modules"));
}

/** Prints each event, and why following ended. */
const follower = (url: string) => `
import { createClient, type Event, eventsOf } from "./bunker.js";

const credentials = { username: "root@example.com", password: "correct horse battery staple" };
const anonymous = createClient("${url}");
const token = async () => {
  const { data, error } = await anonymous.api.v1.auth.login.post(credentials);
  if (error) throw error;
  return data.access_token;
};
const client = createClient("${url}", {
  headers: async (path) =>
    path.includes("/auth/") ? {} : { authorization: \`Bearer \${await token()}\` },
});
const say = (text: string) => console.log(text);
const types: Event["type"][] = ["user.created", "user.deleted"];
const stop = new AbortController();
for await (const event of eventsOf(client, { types, signal: stop.signal })) {
  say(\`\${event.type} \${event.subject} \${event.data.actor.kind}\`);
  void (event.data["fields"] satisfies unknown);
  if (event.type === "user.deleted") stop.abort();
}
say("aborted");
const reasonOf = async (follow: AsyncGenerator<Event>) => {
  try {
    for await (const event of follow) return event.type;
    return "over";
  } catch (error) {
    return (error as { value: { code: string } }).value.code;
  }
};
say(await reasonOf(eventsOf(anonymous)));
say(await reasonOf(eventsOf(client, { after: "nonsense" })));
say(await reasonOf(eventsOf(client, { after: "0".repeat(32) })));
say(await reasonOf(eventsOf(client, { own: true, after: "0".repeat(32) })));
// @ts-expect-error no such type
void eventsOf(client, { types: ["user.vanished"] });
const end = new AbortController();
const { data } = await client.api.v1.events.stream.get({
  query: { after: "0".repeat(32) },
  fetch: { signal: end.signal },
});
for await (const { data: event } of data ?? [])
  if (event) {
    say(event.type satisfies Event["type"]);
    break;
  }
end.abort();
`;

test("eventsOf follows events over restarts of the server, and throws what retrying cannot help", async () => {
  const PASSWORD = "correct horse battery staple";
  const cwd = emptyFolder();
  const env = {
    PORT: String(await freePort()),
    FIRST_SUPERUSER_EMAIL: "root@example.com",
    FIRST_SUPERUSER_PASSWORD: PASSWORD,
    RATE_LIMIT: "off",
  };
  let server = await serve({ cwd, env });
  const { url } = server;
  const folder = emptyFolder();
  await download(url, folder);
  prepare(folder, follower(url));
  expect(compile(folder)).toEqual([]);

  const child = spawn(process.execPath, ["program.ts"], { cwd: folder });
  let said = "";
  for (const output of [child.stdout, child.stderr])
    output.on("data", (chunk) => {
      said += chunk;
    });
  const ended = new Promise<number | null>((done) => child.once("close", done));
  const hasSaid = async (count: number) => {
    while (said.split("\n").length <= count && child.exitCode === null) await sleep(10);
  };
  const streams = async () => (await client(url).get("/events/stream?type=x", "")).status;
  expect(await streams()).toBe(401);
  // It follows from now on: users are created until it sees one.
  let at = 0;
  const ids: string[] = [];
  const create = async () => {
    at += 1;
    const answer = await client(url).register(`ada${at}@example.com`, PASSWORD);
    ids.push(((await answer.json()) as { id: string }).id);
  };
  while (said === "") {
    await create();
    await sleep(200);
  }
  const missed = at - 1;
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    await create();
    await server.end(signal);
    server = await serve({ cwd, env });
    await create();
  }
  await hasSaid(at - missed);
  const token = await client(url).logIn("root@example.com", PASSWORD);
  const headers = { authorization: `Bearer ${token}` };
  await fetch(`${url}/api/v1/users/${ids.at(-1)}`, { method: "DELETE", headers });
  expect([await ended, said.split("\n").slice(0, -1)]).toEqual([
    0,
    [
      ...ids
        .slice(ids.indexOf(said.split(" ")[1] ?? ""))
        .map((id) => `user.created ${id} anonymous`),
      `user.deleted ${ids.at(-1)} user`,
      "aborted",
      "not_signed_in",
      "invalid_request",
      "user.created",
      "user.created",
      "user.created",
    ],
  ]);
  expect(await server.end("SIGTERM")).toBe(0);
});

test("a client from the server that it calls compiles, and gets what its types say", async () => {
  const server = await serve({ cwd: await usedFolder() });
  const folder = emptyFolder();
  await download(server.url, folder);
  prepare(folder, program(server.url));
  expect(compile(folder)).toEqual([]);

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
