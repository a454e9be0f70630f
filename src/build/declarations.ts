/**
 * Build step: writes the client for Eden to `dist/client/`. `bunker.d.ts` has the types of all
 * documented routes, `bunker.js` exports `createClient` and `eventsOf`. They import nothing of our
 * source.
 */
import { join } from "node:path";
import { openapiText } from "../cli/openapi.ts";
import { readConfig } from "../config/config.ts";
import clientModule from "../http/bunker.client.js" with { type: "text" };
import { version } from "../kit/build.ts";
import { type Names, openPrinter } from "./print-shapes.ts";
import { type Paths, publishedRoutes } from "./published-routes.ts";
import { readRoutes, type Shape } from "./route-types.ts";

const root = join(import.meta.dir, "../..");

interface Document {
  paths: Paths;
  components: { schemas: Record<string, ObjectSchema> };
}

interface ObjectSchema {
  properties?: Record<string, unknown>;
  required?: string[];
}

async function build(): Promise<void> {
  const document: Document = JSON.parse(await openapiText(readConfig({}).config));
  const routes = await readRoutes({
    config: join(import.meta.dir, "tsconfig.json"),
    file: join(root, "src/app.ts"),
  });
  const text = declarationsOf(publishedRoutes(routes, document.paths), namesIn(document));
  await write("bunker.js", clientModule);
  await write("bunker.d.ts", text);
  // For the server, because TypeScript does not allow importing a declaration file as text.
  await write("bunker.d.ts.txt", text);
}

const write = (name: string, text: string) => Bun.write(join(root, "dist/client", name), text);

/** The names of the OpenAPI document, so that both use the same ones. */
const namesIn = ({ components }: Document): Names =>
  Object.fromEntries(
    Object.entries(components.schemas).map(([name, schema]) => [name, membersOf(schema)]),
  );

const membersOf = ({ properties = {}, required = [] }: ObjectSchema): string[] =>
  Object.keys(properties).map((name) => (required.includes(name) ? name : `${name}?`));

function declarationsOf(routes: Shape, names: Names): string {
  const printer = openPrinter(names);
  const tree = printer.print(routes);
  return `/** The API of Bunker ${version}, for Eden. Written by Bunker: do not edit it, download it again. */
import type { Treaty } from "@elysiajs/eden";
import type { Elysia } from "elysia";

${printer.declarations()}
export type Routes = ${tree};

export type App = Elysia<"", any, any, any, Routes, any, any>;

export type Client = Treaty.Create<App>;

/** A client of the Bunker at \`url\`. Its strings stay strings, also those that look like dates. */
export declare const createClient: (
  url: string,
  options?: Omit<Treaty.Config, "parseDate">,
) => Client;

export interface EventsOptions {
  /** The \`sequence\` of the last event that you have. Without it, events from now on. */
  after?: string;
  /** Only events of these types. */
  types?: Event["type"][];
  /** True: events about your own user. Otherwise all events, for superusers. */
  own?: boolean;
  /** Ends the iteration. */
  signal?: AbortSignal;
}

/**
 * Yields each event once and in order, and connects again after every failure: it asks the
 * \`headers\` of the client for a token each time. Throws Eden's error if the token is refused
 * (401, 403), or events after the cursor were deleted (410 \`cursor_expired\`).
 */
export declare function eventsOf(
  client: Client,
  options?: EventsOptions,
): AsyncGenerator<Event, void, undefined>;
`;
}

await build();
