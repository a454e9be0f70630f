import type { Config } from "../config.ts";
import type { Ctx } from "../ctx.ts";
import { listKeys, retireKey, rotateKeys } from "../modules/keys/keys.ts";
import { print, type Typed } from "./terminal.ts";
import { withDatabase } from "./with-database.ts";

const operator = { kind: "operator" } as const;

/** Every key; what signs is the one that is current and of today's ALGORITHM. */
export const list = (config: Config, { flags }: Typed) =>
  withDatabase(config, async (ctx) => {
    await show(ctx, flags["json"] === true);
  });

export const rotate = (config: Config, { flags }: Typed) =>
  withDatabase(config, async (ctx) => {
    await rotateKeys(ctx, operator, { isUrgent: flags["now"] === true });
    await show(ctx, false);
    print("Running servers take this in within five seconds.");
  });

export const retire = (config: Config, { words: [kid = ""] }: Typed) =>
  withDatabase(config, async (ctx) => {
    await retireKey(ctx, operator, kid);
    print(`Retired ${kid}: what it signed is refused within five seconds.`);
  });

async function show(ctx: Ctx, isJson: boolean): Promise<void> {
  const keys = (await listKeys(ctx)).map(({ kid, algorithm, state, createdAt, changedAt }) => ({
    kid,
    algorithm,
    state,
    created_at: createdAt.toISOString(),
    changed_at: changedAt.toISOString(),
  }));
  if (isJson) return print(JSON.stringify(keys));
  if (ctx.config.algorithm === "HS256")
    print("ALGORITHM=HS256: access tokens are signed with SECRET_KEY.");
  for (const { kid, algorithm, state, changed_at } of keys)
    print(`${kid}  ${algorithm}  ${state.padEnd(7)}  since ${changed_at}`);
}
