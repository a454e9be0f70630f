import { expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { Glob } from "bun";
import { migrations } from "../src/db/migrations.ts";
import { world } from "./support/world.ts";

const root = join(import.meta.dir, "..");
const src = join(root, "src");

/** The house, ground floor first. A file may import from its own floor or below, never from above. */
const floors = [
  /^kit\//,
  /^((config|settings|settings-mail|settings-operation)\.ts|(db|adapters)\/)/,
  /^ctx\.ts/,
  /^modules\/[^/]+\/(?!([a-z-]+-)?routes\.ts|model\.ts)/,
  /^(http\/|modules\/[^/]+\/(([a-z-]+-)?routes|model)\.ts)/,
  /^(pages\/|(app|jobs|readings|readiness|ground)\.ts)/,
  /^(wire\.ts|cli\/)/,
  /^(main\.ts|build\/)/,
];
const floorOf = (file: string) => floors.findIndex((floor) => floor.test(file));
const files = [...new Glob("**/*.ts").scanSync(src)].filter((file) => !file.endsWith(".d.ts"));
const IMPORTS = /(?:from|import\()\s*"(\.[^"]+\.ts)"/g;
const imports = (
  await Promise.all(
    files.map(async (from) => {
      const text = await Bun.file(join(src, from)).text();
      return [...text.matchAll(IMPORTS)].map((match) => ({
        from,
        to: join(dirname(from), match[1] ?? ""),
      }));
    }),
  )
).flat();
const shown = (list: typeof imports) => list.map(({ from, to }) => `${from} -> ${to}`);
const roomOf = (file: string) => file.match(/^modules\/([^/]+)\//)?.[1];

test("every file stands on a floor", () =>
  expect(files.filter((file) => floorOf(file) < 0)).toEqual([]));

test("imports only go down", () =>
  expect(shown(imports.filter(({ from, to }) => floorOf(to) > floorOf(from)))).toEqual([]));

/** A domain file enters another room by the file named after it; on the wire, views are shared by `model`. */
test("a room is entered by its front door", () => {
  const isBurglary = ({ from, to }: (typeof imports)[number]) => {
    const room = roomOf(to);
    if (!room || !roomOf(from) || roomOf(from) === room) return false;
    const doors = [
      `modules/${room}/${room}.ts`,
      ...(/(routes|model)\.ts$/.test(from) ? [`modules/${room}/model.ts`] : []),
    ];
    return !doors.includes(to);
  };
  expect(shown(imports.filter(isBurglary))).toEqual([]);
});

/** A room may enter only those named before it. */
const rooms = [
  "events",
  "keys",
  "mail",
  "one-time",
  "sessions",
  "users",
  "addresses",
  "passwords",
  "auth",
  "oauth",
];

test("rooms stand in a line, not in a web", () => {
  const found = new Set(files.map(roomOf).filter((room) => room !== undefined));
  expect([...found].filter((room) => !rooms.includes(room))).toEqual([]);
  const isBackwards = ({ from, to }: (typeof imports)[number]) => {
    const [here, there] = [roomOf(from), roomOf(to)];
    return here !== undefined && there !== undefined && rooms.indexOf(there) > rooms.indexOf(here);
  };
  expect(shown(imports.filter(isBackwards))).toEqual([]);
});

const textOf = (file: string) => Bun.file(join(src, file)).text();

test("only wire and ground open what is outside, only main ends the process, only http hooks into Elysia", async () => {
  const allowed: [RegExp, RegExp][] = [
    [/openDatabase\(|openEmbedded\(/, /^((wire|ground)\.ts|db\/)/],
    [/process\.exit\(/, /^(main\.ts|kit\/signals\.ts|build\/)/],
    [/\.transaction\(/, /^db\//],
    [/process\.env/, /^(cli\/|build\/)/],
    [
      /\.(onRequest|onParse|onTransform|onBeforeHandle|onAfterHandle|onError|derive|resolve|mapResponse)\(/,
      /^http\//,
    ],
    [/new Date\(\)|Date\.now\(\)|Math\.random\(/, /^(wire\.ts|db\/embedded\/)/],
  ];
  const strays: string[] = [];
  for (const file of files) {
    const text = await textOf(file);
    for (const [pattern, home] of allowed)
      if (pattern.test(text) && !home.test(file)) strays.push(`${file}: ${pattern}`);
  }
  expect(strays).toEqual([]);
});

test("every route says who may call it and what can come back", async () => {
  const { app } = await world();
  const nameOf = ({ method, path }: { method: string; path: string }) => `${method} ${path}`;
  const spoken = app.routes.filter(({ hooks }) => !hooks.detail?.hide);
  expect(spoken.length).toBeGreaterThan(8);
  expect(spoken.filter(({ hooks }) => !hooks.detail?.security).map(nameOf)).toEqual([]);
  expect(
    app.routes.filter(({ hooks }) => !hooks.detail?.hide && !hooks.response).map(nameOf),
  ).toEqual([]);
});

test("the binary carries every migration", () => {
  const onDisk = [...new Glob("*.sql").scanSync(join(root, "drizzle"))].map((file) =>
    file.replace(".sql", ""),
  );
  expect(migrations.map(({ tag }) => tag)).toEqual(onDisk.sort());
});
