/**
 * Where each file of `src` belongs, and what it may import. ARCHITECTURE.md describes the layers
 * and modules. A failure names the file and says where to put it.
 */
import { expect, test } from "bun:test";
import { basename, dirname, join } from "node:path";
import { Glob } from "bun";
import { getTableName, is } from "drizzle-orm";
import { PgTable } from "drizzle-orm/pg-core";
import { migrations } from "../src/db/migrate.ts";
import { productTables } from "../src/product/tables.ts";
import { tables } from "../src/tables.ts";
import { world } from "./support/world.ts";

const root = join(import.meta.dir, "..");
const src = join(root, "src");

interface Layer {
  files: RegExp;
  holds: string;
}

/**
 * Lowest layer first. A file belongs to the first layer that matches its path. It imports from its
 * own layer and from the layers before it.
 */
const layers: Record<string, Layer> = {
  kit: {
    files: /^(kit\/|product\/(problem-codes|event-types)\.ts)/,
    holds: "helpers that import nothing else of Bunker",
  },
  credentials: {
    files: /^(credentials\/|limits\/(policies|shared-store)\.ts)/,
    holds: "passwords, tokens and keys; the policies of rate limits, which settings name",
  },
  config: { files: /^(config\/|product\/settings\.ts)/, holds: "settings and the data directory" },
  tables: {
    files: /^(db\/columns\.ts|tables\.ts|(limits|modules\/[^/]+|product(\/[^/]+)?)\/tables\.ts)/,
    holds: "tables, each in the tables.ts of its module",
  },
  adapters: {
    files: /^((db|adapters)\/|product\/migrations\.ts)/,
    holds: "PostgreSQL (db/) and other outside systems",
  },
  limits: { files: /^limits\//, holds: "the rate limiter" },
  ctx: {
    files: /^(ctx|access)\.ts/,
    holds: "the types of what a verb gets, and the rules of who may do what",
  },
  verbs: {
    files: /^(modules|product)\/[^/]+\/(?!([a-z-]+-)?routes\.ts|(model|query)\.ts)/,
    holds: "verbs, in modules/<noun>/<noun>.ts: they know neither HTTP nor the environment",
  },
  http: {
    files:
      /^(http\/|product\/routes\.ts|(modules|product)\/[^/]+\/(([a-z-]+-)?routes|model|query)\.ts)/,
    holds: "what all routes share (http/), and the routes.ts and model.ts of each module",
  },
  app: {
    files: /^(pages\/|product\/jobs\.ts|(app|pipeline|jobs|collectors|readiness|runtime)\.ts)/,
    holds: "HTML pages, and the lists of routes, wrappers, jobs and collectors",
  },
  wire: {
    files: /^(wire|environment|terminal)\.ts/,
    holds: "what opens external systems, reads the environment and writes to the terminal",
  },
  server: { files: /^server\//, holds: "processes that serve: listen, reload, workers" },
  cli: { files: /^cli\//, holds: "commands" },
  main: { files: /^(main\.ts|build\/)/, holds: "the program, and the scripts that build it" },
};
const layerNames = Object.keys(layers);
const layerOf = (file: string) =>
  Object.values(layers).findIndex(({ files: pattern }) => pattern.test(file));
const described = Object.entries(layers).map(([name, { holds }]) => `  ${name}: ${holds}`);

const files = [...new Glob("**/*.ts").scanSync(src)].filter((file) => !file.endsWith(".d.ts"));
const textOf = (file: string) => Bun.file(join(src, file)).text();
const IMPORTS = /(?:from|import\()\s*"(\.[^"]+\.ts)"/g;

interface Import {
  from: string;
  to: string;
}
const importsOf = async (from: string): Promise<Import[]> =>
  [...(await textOf(from)).matchAll(IMPORTS)].map(([, path = ""]) => ({
    from,
    to: join(dirname(from), path),
  }));
const imports = (await Promise.all(files.map(importsOf))).flat();
/** The folder of a module: `modules/users`, or `product/notes` for a module of the product. */
const moduleOf = (file: string) => file.match(/^((?:modules|product)\/[^/]+)\//)?.[1];

/** Fails with one line for each violation, and then says what to do. */
function refuse(violations: string[], remedy: string): void {
  if (violations.length === 0) return;
  throw new Error(["", ...violations.map((line) => `src/${line}`), "", remedy].join("\n"));
}

test("every file belongs to a layer", () =>
  refuse(
    files.filter((file) => layerOf(file) < 0).map((file) => `${file} belongs to no layer.`),
    `Move each file to the layer that holds what it does, lowest first:\n${described.join("\n")}`,
  ));

test("a file imports only from its own layer and lower ones", () => {
  const violations = imports.filter(({ from, to }) => layerOf(to) > layerOf(from));
  const named = (file: string) => `${file} (layer ${layerNames[layerOf(file)]})`;
  refuse(
    violations.map(({ from, to }) => `${named(from)} imports ${named(to)}.`),
    `Move what is imported down, move the importing code up, or pass the value as a parameter. Layers, lowest first:\n${described.join("\n")}`,
  );
});

/** The first cycle of imports that a depth-first search finds, as `a.ts imports b.ts`. */
function findCycle(): string[] {
  const done = new Set<string>();
  const visit = (file: string, path: string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const { to } of imports.filter(({ from }) => from === file)) {
      const cycle = visit(to, [...path, file]);
      if (cycle) return cycle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of files) {
    const cycle = visit(file, []);
    if (cycle) return cycle.slice(1).map((to, at) => `${cycle[at]} imports ${to}.`);
  }
  return [];
}

test("files do not import each other in a circle, not even types", () =>
  refuse(findCycle(), "Move what both files need into the lower one of them."));

test("no module imports the routes of another one", () => {
  const violations = imports.filter(
    ({ from, to }) => moduleOf(from) !== moduleOf(to) && moduleOf(from) && /routes\.ts$/.test(to),
  );
  refuse(
    violations.map(({ from, to }) => `${from} imports ${to}.`),
    "Call the verb that the route calls, and share a schema by model.ts.",
  );
});

/**
 * A module imports verbs only from modules before it. Tables refer to each other by foreign keys.
 * The modules of the product come after all of these, in any order.
 */
const order = [
  "idempotency",
  "events",
  "keys",
  "mail",
  "links",
  "sessions",
  "streams",
  "users",
  "webhooks",
  "passwords",
  "registration",
  "auth",
  "emails",
  "me",
  "oauth",
];

const placeOf = (folder: string) =>
  folder.startsWith("product/") ? order.length : order.indexOf(basename(folder));

test("every module has a place in the order of modules", () => {
  const found = new Set(files.map(moduleOf).filter((folder) => folder !== undefined));
  refuse(
    [...found].filter((folder) => placeOf(folder) < 0).map((folder) => `${folder} is new.`),
    "Add its name to `order` in test/architecture.test.ts, after all modules whose verbs it imports.",
  );
});

test("a module imports verbs only from modules before it", () => {
  const isBackwards = ({ from, to }: Import) => {
    const [here, there] = [moduleOf(from), moduleOf(to)];
    if (here === undefined || there === undefined || to.endsWith("/tables.ts")) return false;
    return placeOf(there) > placeOf(here);
  };
  refuse(
    imports.filter(isBackwards).map(({ from, to }) => `${from} imports ${to}.`),
    `Move the code that needs both modules into the later one. The order: ${order.join(", ")}.`,
  );
});

test("the code of Bunker imports the lists of the product, and nothing else of it", () => {
  const violations = imports.filter(
    ({ from, to }) => /^product\/.+\//.test(to) && !from.startsWith("product/"),
  );
  refuse(
    violations.map(({ from, to }) => `${from} imports ${to}.`),
    "Add it to a list: src/product/routes.ts, tables.ts, jobs.ts, event-types.ts.",
  );
});

const tablesIn = async (pattern: RegExp) => {
  const found = files.filter((file) => pattern.test(file));
  const exported = await Promise.all(found.map((file) => import(join(src, file))));
  const isTable = (value: unknown): value is PgTable => is(value, PgTable);
  const names = exported.flatMap((one) => Object.values(one).filter(isTable).map(getTableName));
  return names.toSorted();
};
const namesOf = (list: PgTable[]) => list.map((table) => getTableName(table)).toSorted();

test("src/tables.ts lists every table that drizzle-kit finds", async () =>
  expect(await tablesIn(/^(limits|modules\/[^/]+)\/tables\.ts$/)).toEqual(namesOf(tables)));

test("src/product/tables.ts lists every table of the product, by names that Bunker never uses", async () => {
  const names = namesOf(productTables);
  expect(await tablesIn(/^product\/[^/]+\/tables\.ts$/)).toEqual(names);
  const isOfProduct = (name: string) => name.startsWith("product_");
  expect(names.filter((name) => !isOfProduct(name))).toEqual([]);
  expect(namesOf(tables).filter(isOfProduct)).toEqual([]);
});

interface Restriction {
  code: RegExp;
  allowedIn: RegExp;
  remedy: string;
}
const restrictions: Restriction[] = [
  {
    code: /openDatabase\(|openEmbedded\(/,
    allowedIn: /^((wire|runtime)\.ts|db\/)/,
    remedy: "Only wire.ts and runtime.ts open a database. Use `ctx.db`.",
  },
  {
    code: /process\.exit\(/,
    allowedIn: /^(main\.ts|kit\/signals\.ts|build\/)/,
    remedy: "Only main.ts exits the process. Throw an Exit (kit/exit.ts).",
  },
  {
    code: /\.transaction\(/,
    allowedIn: /^db\//,
    remedy:
      "Use `transaction(ctx, …)` of db/transaction.ts: it maps broken constraints to problems, retries after a deadlock, and invalidates the principal cache.",
  },
  {
    code: /process\.env/,
    allowedIn: /^((environment|terminal)\.ts|server\/|cli\/|build\/)/,
    remedy: "Add a setting to config/, and read it from `ctx.config`.",
  },
  {
    code: /\.(onRequest|onParse|onTransform|onBeforeHandle|onAfterHandle|onError|derive|resolve|mapResponse)\(/,
    allowedIn: /^http\//,
    remedy: "Elysia hooks are in http/, so that their order can be seen in app.ts.",
  },
  {
    code: /\blookup\b.*"node:dns/,
    allowedIn: /^server\/listen\.ts/,
    remedy:
      "node:dns waits in the threads that also hash passwords: two names whose server does not answer stop all sign-ins for 10 seconds. Use `Bun.dns.lookup`.",
  },
  {
    code: /new Date\(\)|Date\.now\(\)|Math\.random\(/,
    allowedIn: /^(wire\.ts|db\/embedded\/)/,
    remedy: "Take the time from `ctx.now()`, which tests control, and randomness from node:crypto.",
  },
];

test("what may be used in few places is used only there", async () => {
  for (const { code, allowedIn, remedy } of restrictions) {
    const violations: string[] = [];
    for (const file of files)
      if (!allowedIn.test(file) && code.test(await textOf(file)))
        violations.push(`${file} contains ${code}.`);
    refuse(violations, remedy);
  }
});

test("every route declares who may call it and what it may answer", async () => {
  const { app } = await world();
  const documented = app.routes.filter(({ hooks }) => !hooks.detail?.hide);
  expect(documented.length).toBeGreaterThan(8);
  const missing = documented.flatMap(({ method, path, hooks }) => [
    ...(hooks.detail?.security ? [] : [`${method} ${path} has no access rule (http/guard.ts)`]),
    ...(hooks.response ? [] : [`${method} ${path} has no \`response\``]),
  ]);
  expect(missing).toEqual([]);
});

test("the binary has every migration; if not: bun run db:generate, db:generate:product", () => {
  const tagsIn = (folder: string) =>
    [...new Glob("*.sql").scanSync(join(root, folder))].map((file) => file.replace(".sql", ""));
  const onDisk = [
    ...tagsIn("drizzle").sort(),
    ...tagsIn("drizzle/product")
      .sort()
      .map((tag) => `product/${tag}`),
  ];
  expect(migrations.map(({ tag }) => tag)).toEqual(onDisk);
});

test("no two routes have the same method and path", async () => {
  const { app } = await world();
  const names = app.routes.map(({ method, path }) => `${method} ${path.replaceAll(/:\w+/g, ":")}`);
  expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
});
