import { createDatabase } from "./database.ts";
import { registerPeople, signIn, user } from "./people.ts";
import { compare, costIn, type Effort, get, lineOf } from "./requests.ts";
import { type Binaries, quietSettings, startServer } from "./servers.ts";
import { type Stage, stop } from "./stage.ts";
import type { Line } from "./table.ts";

/** So many that a hundredth of a second, which is what the kernel counts in, is little beside a round. */
const REQUESTS = 40_000;
const OVERHEAD_MOST = 1.1;

/** What it costs to have one request in ten followed: the CPU of the server process, beside the same server without, in turns. */
export async function measureTraces(
  stage: Stage,
  binaries: Binaries,
  { rounds, share }: Effort,
): Promise<Line[]> {
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
    DATABASE_URL: await createDatabase(stage),
    PUBLIC_URL: "https://accounts.example.com",
    DATA_DIR: stage.dir,
  };
  const traces = { OTLP_URL: collector.url.href, TRACE_SAMPLE: "0.1" };
  const forgetful = { PRINCIPAL_CACHE_SIZE: "0" };
  const start = (more: Record<string, string>) =>
    startServer(stage, binaries.bunker, { ...env, ...more });
  const plain = await start({});
  await registerPeople(plain);
  const me = get("/api/v1/users/me", {
    requests: REQUESTS,
    headers: { authorization: `Bearer ${await signIn(plain, user)}` },
  });
  const cost = costIn(stage, { rounds, share });
  const lines: Line[] = [];
  for (const [what, more] of [
    ["seen before", {}],
    ["not remembered", forgetful],
  ] as const) {
    const [followed, bare] = [await start({ ...more, ...traces }), await start(more)];
    const sides = [() => cost(followed, me), () => cost(bare, me)] as const;
    const comparison = await compare([...sides], rounds);
    lines.push(
      lineOf(
        `GET /users/me, ${what}: one in ten withTracing, beside none`,
        comparison,
        OVERHEAD_MOST,
      ),
    );
    await Promise.all([followed, bare].map(({ program }) => stop(program)));
  }
  await stop(plain.program);
  await collector.stop(true);
  return lines;
}
