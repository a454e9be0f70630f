import { expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { Glob } from "bun";
import { migrations } from "../src/db/migrations.ts";
import { tables } from "../src/tables.ts";
import { world } from "./support/world.ts";

const root = join(import.meta.dir, "..");
const src = join(root, "src");

/** Lowest layer first. A file imports from its own layer and the layers before it. */
const layers = [
  /^kit\//,
  /^(credentials\/|limits\/(policies|shared-memory)\.ts)/,
  /^config\//,
  /^(db\/columns\.ts|tables\.ts|(limits|modules\/[^/]+)\/tables\.ts)/,
  /^(db|adapters)\//,
  /^limits\//,
  /^ctx\.ts/,
  /^modules\/[^/]+\/(?!([a-z-]+-)?routes\.ts|model\.ts)/,
  /^(http\/|modules\/[^/]+\/(([a-z-]+-)?routes|model)\.ts)/,
  /^(pages\/|(app|pipeline|jobs|gauges|readiness|runtime)\.ts)/,
  /^(wire|environment|terminal)\.ts/,
  /^server\//,
  /^cli\//,
  /^(main\.ts|build\/)/,
];
const layerOf = (file: string) => layers.findIndex((layer) => layer.test(file));
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
const moduleOf = (file: string) => file.match(/^modules\/([^/]+)\//)?.[1];

test("every file belongs to a layer", () =>
  expect(files.filter((file) => layerOf(file) < 0)).toEqual([]));

test("a file imports only from its own layer and lower ones", () =>
  expect(shown(imports.filter(({ from, to }) => layerOf(to) > layerOf(from)))).toEqual([]));

/** Verbs import the verbs and tables of other modules; routes and models share their models as well. */
test("a module imports another one by its tables and the file named after it", () => {
  const isAllowed = ({ from, to }: (typeof imports)[number]) => {
    const name = moduleOf(to);
    if (!name || !moduleOf(from) || moduleOf(from) === name) return true;
    return [
      `modules/${name}/${name}.ts`,
      `modules/${name}/tables.ts`,
      ...(/(routes|model)\.ts$/.test(from) ? [`modules/${name}/model.ts`] : []),
    ].includes(to);
  };
  expect(shown(imports.filter((one) => !isAllowed(one)))).toEqual([]);
});

/** A module imports the verbs of modules before it. Tables refer to each other by foreign keys. */
const order = [
  "idempotency",
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

test("modules stand in one order", () => {
  const found = new Set(files.map(moduleOf).filter((name) => name !== undefined));
  expect([...found].filter((name) => !order.includes(name))).toEqual([]);
  const isBackwards = ({ from, to }: (typeof imports)[number]) => {
    const [here, there] = [moduleOf(from), moduleOf(to)];
    if (here === undefined || there === undefined || to.endsWith("/tables.ts")) return false;
    return order.indexOf(there) > order.indexOf(here);
  };
  expect(shown(imports.filter(isBackwards))).toEqual([]);
});

test("every table is in the list, and drizzle-kit finds it", async () => {
  const found = files.filter((file) => /^(limits|modules\/[^/]+)\/tables\.ts$/.test(file));
  const exported = await Promise.all(found.map((file) => import(join(src, file))));
  expect(new Set(exported.flatMap((one) => Object.values(one)))).toEqual(new Set(tables));
});

const textOf = (file: string) => Bun.file(join(src, file)).text();

test("only wire and runtime open what is outside, only main ends the process, only http hooks into Elysia", async () => {
  const allowed: [RegExp, RegExp][] = [
    [/openDatabase\(|openEmbedded\(/, /^((wire|runtime)\.ts|db\/)/],
    [/process\.exit\(/, /^(main\.ts|kit\/signals\.ts|build\/)/],
    [/\.transaction\(/, /^db\//],
    [/process\.env/, /^((environment|terminal)\.ts|server\/|cli\/|build\/)/],
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
