import {
  type Client,
  createClient,
  deleteClient,
  finishRotation,
  listClients,
  rotateSecret,
} from "../modules/oauth/clients.ts";
import { type JsonFlag, printList } from "../terminal.ts";
import { changeDatabase, readDatabase } from "./with-database.ts";

const operator = { kind: "operator" } as const;

export const create = ({ json: isJson }: JsonFlag, name: string) =>
  changeDatabase(isJson, async (ctx) => {
    const { client, secret } = await createClient(ctx, operator, name);
    return {
      json: { ...viewOf(client), client_secret: secret },
      text: `client_id      ${client.id}\nclient_secret  ${secret}\nThe secret is not shown again.`,
    };
  });

export const list = ({ json: isJson }: JsonFlag) =>
  readDatabase(async (ctx) =>
    printList(await listClients(ctx), isJson, {
      json: viewOf,
      text: ({ id, name, isRotating }) => `${id}  ${name}${isRotating ? "  (two secrets)" : ""}`,
      empty: "There is no OAuth client. Create one: bunker clients create NAME",
    }),
  );

export const rotate = (
  { json: isJson, finish }: JsonFlag & { finish?: boolean },
  id: string,
): Promise<void> =>
  changeDatabase(isJson, async (ctx) => {
    if (finish) {
      await finishRotation(ctx, operator, id);
      const text = "Only the newest secret is accepted from now on.";
      return { json: { client_id: id, is_rotating: false }, text };
    }
    const secret = await rotateSecret(ctx, operator, id);
    return {
      json: { client_id: id, is_rotating: true, client_secret: secret },
      text: `client_secret  ${secret}\nThe older secret is accepted too, until you run: bunker clients rotate ${id} --finish`,
    };
  });

export const remove = ({ json: isJson }: JsonFlag, id: string) =>
  changeDatabase(isJson, async (ctx) => {
    await deleteClient(ctx, operator, id);
    return {
      json: { client_id: id, is_deleted: true },
      text: `Deleted ${id}. Other services may accept its access tokens until they expire.`,
    };
  });

const viewOf = ({ id, name, createdAt, rotatedAt, isRotating }: Client) => ({
  client_id: id,
  name,
  created_at: createdAt.toISOString(),
  rotated_at: rotatedAt.toISOString(),
  is_rotating: isRotating,
});
