import { createDatabase } from "./database.ts";
import { compare, costIn, type Effort, get, rowOf } from "./requests.ts";
import { type Binaries, quietSettings, startServer } from "./servers.ts";
import type { Row } from "./table.ts";
import { registerUsers, signIn, user } from "./users.ts";
import { stop, type Workspace } from "./workspace.ts";

/** Enough that 10 ms, the unit of the kernel's CPU times, are little. */
const REQUESTS = 40_000;
const OVERHEAD_MAX = 1.1;

/** The CPU time of a server that traces one request in ten, compared with one that traces none. */
export async function measureTraces(
  workspace: Workspace,
  binaries: Binaries,
  { rounds, share }: Effort,
): Promise<Row[]> {
  const collector = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      await request.arrayBuffer();
      return Response.json({});
    },
  });
  const env = {
    ...quietSettings,
    SECRET_KEY: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toHex(),
    DATABASE_URL: await createDatabase(workspace),
    PUBLIC_URL: "https://accounts.example.com",
    DATA_DIR: workspace.dir,
  };
  const traces = { OTLP_URL: collector.url.href, TRACE_SAMPLE: "0.1" };
  const uncached = { PRINCIPAL_CACHE_SIZE: "0" };
  const start = (more: Record<string, string>) =>
    startServer(workspace, binaries.bunker, { ...env, ...more });
  const plain = await start({});
  await registerUsers(plain);
  const me = get("/api/v1/users/me", {
    requests: REQUESTS,
    headers: { authorization: `Bearer ${await signIn(plain, user)}` },
  });
  const cost = costIn(workspace, { rounds, share });
  const rows: Row[] = [];
  for (const [what, more] of [
    ["cached", {}],
    ["not cached", uncached],
  ] as const) {
    const [traced, untraced] = [await start({ ...more, ...traces }), await start(more)];
    const sides = [() => cost(traced, me), () => cost(untraced, me)] as const;
    const comparison = await compare([...sides], rounds);
    rows.push(
      rowOf(
        `GET /users/me, ${what}: one in ten traced, compared with none`,
        comparison,
        OVERHEAD_MAX,
      ),
    );
    await Promise.all([traced, untraced].map(({ program }) => stop(program)));
  }
  await stop(plain.program);
  await collector.stop(true);
  return rows;
}
