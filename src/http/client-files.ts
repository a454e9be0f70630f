/** Serves the client for Eden: the types of this version, `createClient` and `eventsOf`. */

import { Elysia, t } from "elysia";
import type { Ctx } from "../ctx.ts";
import { sha256 } from "../kit/digest.ts";
import { Problem } from "../kit/problem.ts";
import clientModule from "./bunker.client.js" with { type: "text" };
import { isTagIn } from "./etag.ts";
import { guard } from "./guard.ts";
import type { RequestParts } from "./request-context.ts";

interface ClientFile {
  text: string;
  sha256: string;
}

const fileOf = (text: string): ClientFile => ({ text, sha256: sha256(text).toString("hex") });

/**
 * The types that src/build/declarations.ts wrote, or undefined. Imported as text, so that the
 * compiler sees no cycle, and late, so that a server from source starts without them.
 */
export async function findDeclarations(): Promise<ClientFile | undefined> {
  try {
    const { default: text } = await import("../../dist/client/bunker.d.ts.txt", {
      with: { type: "text" },
    });
    return fileOf(text);
  } catch (error) {
    if ((error as { code?: unknown }).code === "ERR_MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}

const NOT_BUILT =
  "The types are not built. From source, run `bun src/build/declarations.ts`, then restart the server.";

async function getDeclarations(): Promise<ClientFile> {
  const found = await findDeclarations();
  if (!found) throw new Problem("not_found", { detail: NOT_BUILT });
  return found;
}

/** With `no-cache`, caches ask each time: clients see an upgrade of the server at once. */
function respond(
  { headers }: Pick<RequestParts, "headers">,
  { text, sha256 }: ClientFile,
  type: string,
) {
  const etag = `"${sha256}"`;
  const isKnown = isTagIn(headers["if-none-match"], etag);
  return new Response(isKnown ? null : text, {
    status: isKnown ? 304 : 200,
    headers: { etag, "cache-control": "no-cache", "content-type": type },
  });
}

export const clientRoutes = (ctx: Ctx) => {
  const javaScript = fileOf(clientModule);
  const open = { public: true as const, response: t.Any(), detail: { hide: true } };
  return new Elysia({ name: "client", prefix: "/client" })
    .use(guard(ctx))
    .get(
      "/bunker.d.ts",
      // TypeScript has no registered type; browsers show plain text.
      async ({ headers }) =>
        respond({ headers }, await getDeclarations(), "text/plain; charset=utf-8"),
      open,
    )
    .get(
      "/bunker.js",
      ({ headers }) => respond({ headers }, javaScript, "text/javascript; charset=utf-8"),
      open,
    );
};
