import type { Config } from "../config.ts";
import {
  type Client,
  createClient,
  deleteClient,
  finishRotation,
  listClients,
  rotateSecret,
} from "../modules/oauth/clients.ts";
import { print, type Typed } from "./terminal.ts";
import { withDatabase } from "./with-database.ts";

const operator = { kind: "operator" } as const;

export const create = (config: Config, { words: [name = ""], flags }: Typed) =>
  withDatabase(config, async (ctx) => {
    const { client, secret } = await createClient(ctx, operator, name);
    if (flags["json"]) return print(JSON.stringify({ ...viewOf(client), client_secret: secret }));
    print(`client_id      ${client.id}\nclient_secret  ${secret}\nThe secret is not shown again.`);
  });

export const list = (config: Config, { flags }: Typed) =>
  withDatabase(config, async (ctx) => {
    const clients = await listClients(ctx);
    if (flags["json"]) return print(JSON.stringify(clients.map(viewOf)));
    if (clients.length === 0) print("There is no client yet. Make one: bunker clients create NAME");
    for (const client of clients)
      print(`${client.id}  ${client.name}${client.isRotating ? "  (two secrets are good)" : ""}`);
  });

export const rotate = (config: Config, { words: [id = ""], flags }: Typed) =>
  withDatabase(config, async (ctx) => {
    if (flags["finish"]) {
      await finishRotation(ctx, operator, id);
      return print("Only the newest secret is good from now on.");
    }
    const secret = await rotateSecret(ctx, operator, id);
    print(
      `client_secret  ${secret}\nThe one before is good, too, until: bunker clients rotate ${id} --finish`,
    );
  });

export const remove = (config: Config, { words: [id = ""] }: Typed) =>
  withDatabase(config, async (ctx) => {
    await deleteClient(ctx, operator, id);
    print(`Deleted ${id}. Other services may take its access tokens until they run out.`);
  });

const viewOf = ({ id, name, createdAt, rotatedAt, isRotating }: Client) => ({
  client_id: id,
  name,
  created_at: createdAt.toISOString(),
  rotated_at: rotatedAt.toISOString(),
  is_rotating: isRotating,
});
