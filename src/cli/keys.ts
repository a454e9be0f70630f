import { listKeys, retireKey, rotateKeys } from "../modules/keys/keys.ts";
import { type JsonFlag, printList, printNote } from "../terminal.ts";
import { changeDatabase, readDatabase } from "./with-database.ts";

const operator = { kind: "operator" } as const;

type Key = Awaited<ReturnType<typeof listKeys>>[number];

/** Lists all keys. The current key of the configured ALGORITHM signs. */
export const list = ({ json: isJson }: JsonFlag) =>
  readDatabase(async (ctx) => {
    if (ctx.config.algorithm === "HS256")
      printNote("ALGORITHM=HS256: access tokens are signed with SECRET_KEY, not with a key pair.");
    const empty = "There is no key pair.";
    await printList(await listKeys(ctx), isJson, { json: viewOf, text: lineOf, empty });
  });

export const rotate = ({ json: isJson, now: isUrgent = false }: JsonFlag & { now?: boolean }) =>
  changeDatabase(isJson, async (ctx) => {
    await rotateKeys(ctx, operator, { isUrgent });
    const keys = await listKeys(ctx);
    const lines = [...keys.map(lineOf), "Running servers use the key within five seconds."];
    return { json: keys.map(viewOf), text: lines.join("\n") };
  });

export const retire = ({ json: isJson }: JsonFlag, kid: string) =>
  changeDatabase(isJson, async (ctx) => {
    await retireKey(ctx, operator, kid);
    const text = `Retired ${kid}. Tokens that it signed are refused within five seconds.`;
    return { json: { kid, is_retired: true }, text };
  });

const viewOf = ({ kid, algorithm, state, createdAt, changedAt }: Key) => ({
  kid,
  algorithm,
  state,
  created_at: createdAt.toISOString(),
  changed_at: changedAt.toISOString(),
});

const lineOf = ({ kid, algorithm, state, changedAt }: Key) =>
  `${kid}  ${algorithm}  ${state.padEnd(7)}  since ${changedAt.toISOString()}`;
