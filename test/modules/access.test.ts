/** Verbs decide by their actor, without a route in front of them. */
import { expect, test } from "bun:test";
import type { Actor, Ctx, User } from "../../src/ctx.ts";
import { Problem } from "../../src/kit/problem.ts";
import { retireKey, rotateKeys } from "../../src/modules/keys/keys.ts";
import {
  createClient,
  deleteClient,
  finishRotation,
  rotateSecret,
} from "../../src/modules/oauth/clients.ts";
import { setPassword } from "../../src/modules/passwords/passwords.ts";
import { countUsers, findUsers, listUsers } from "../../src/modules/users/directory.ts";
import {
  createUser,
  deleteUser,
  getUser,
  unlockUser,
  updateUser,
} from "../../src/modules/users/users.ts";
import { world } from "../support/world.ts";

const PASSWORD = "a stable full of correct horses";
const HASH = "$2b$10$abcdefghijklmnopqrstuuX0VbnPVJvOrDWnTqNSh7PNFJwTWKLCK";
const page = { start: { skip: 0 }, limit: 10 };
const newUserInput = () => ({ email: `${crypto.randomUUID()}@example.com`, password: PASSWORD });

type Verb = (ctx: Ctx, actor: Actor, ada: User) => Promise<unknown>;

/** What `ada`, another user and an anonymous caller may not do. Administrators may do all of it. */
const forAdministrators: Record<string, Verb> = {
  listUsers: (ctx, actor) => listUsers(ctx, actor, page),
  countUsers: (ctx, actor) => countUsers(ctx, actor),
  unlockUser: (ctx, actor, { id }) => unlockUser(ctx, actor, id),
  setPassword: (ctx, actor, user) => setPassword(ctx, actor, { user, password: PASSWORD }),
  "updateUser: isActive": (ctx, actor, { id }) => updateUser(ctx, actor, { id, isActive: true }),
  "updateUser: isSuperuser": (ctx, actor, { id }) =>
    updateUser(ctx, actor, { id, isSuperuser: false }),
  "createUser: isSuperuser": (ctx, actor) =>
    createUser(ctx, actor, { ...newUserInput(), isSuperuser: true }),
  "createUser: verified": (ctx, actor) =>
    createUser(ctx, actor, { ...newUserInput(), verification: "known" }),
  "createUser: hash": (ctx, actor) =>
    createUser(ctx, actor, { ...newUserInput(), password: { hash: HASH } }),
};

/** What users may do with their own account, and administrators with any. */
const forOwners: Record<string, Verb> = {
  getUser: (ctx, actor, { id }) => getUser(ctx, actor, id),
  "updateUser: fullName": (ctx, actor, { id }) => updateUser(ctx, actor, { id, fullName: "Ada" }),
  deleteUser: (ctx, actor, { id }) => deleteUser(ctx, actor, { id }),
};

const forOperators: Record<string, Verb> = {
  findUsers: (ctx, actor) => findUsers(ctx, actor, { text: "ada", ...page }),
  createClient: (ctx, actor) => createClient(ctx, actor, "reports"),
  rotateSecret: (ctx, actor) => rotateSecret(ctx, actor, crypto.randomUUID()),
  finishRotation: (ctx, actor) => finishRotation(ctx, actor, crypto.randomUUID()),
  deleteClient: (ctx, actor) => deleteClient(ctx, actor, crypto.randomUUID()),
  rotateKeys: (ctx, actor) => rotateKeys(ctx, actor),
  retireKey: (ctx, actor) => retireKey(ctx, actor, "none"),
};

/** Each kind of actor, and `ada`, whom the verbs are about. */
async function cast() {
  const { ctx, newUser, superuser } = await world({ rateLimit: "off" });
  const operator: Actor = { kind: "operator" };
  const actorOf = async (id: string): Promise<Actor> => ({
    kind: "user",
    user: await getUser(ctx, operator, id),
    session: { id: crypto.randomUUID(), createdAt: ctx.now() },
  });
  const [ada, bob, root] = [
    await newUser("ada@example.com"),
    await newUser("bob@example.com"),
    await superuser("root@example.com"),
  ];
  const actors = {
    anonymous: { kind: "anonymous" } as Actor,
    self: await actorOf(ada.id),
    other: await actorOf(bob.id),
    superuser: await actorOf(root.id),
    operator,
  };
  return { ctx, actors, ada: await getUser(ctx, operator, ada.id) };
}

/** Whether a verb refuses its actor, by the name of the actor. */
async function refusals(verb: Verb): Promise<Record<string, boolean>> {
  const { ctx, actors, ada } = await cast();
  const refused: Record<string, boolean> = {};
  for (const [name, actor] of Object.entries(actors))
    refused[name] = await verb(ctx, actor, ada).then(
      () => false,
      (error) => error instanceof Problem && error.code === "forbidden",
    );
  return refused;
}

for (const [name, verb] of Object.entries(forAdministrators))
  test(`${name} refuses all but a superuser and the operator`, async () => {
    expect(await refusals(verb)).toEqual({
      anonymous: true,
      self: true,
      other: true,
      superuser: false,
      operator: false,
    });
  });

for (const [name, verb] of Object.entries(forOwners))
  test(`${name} refuses other users`, async () => {
    expect(await refusals(verb)).toEqual({
      anonymous: true,
      self: false,
      other: true,
      superuser: false,
      operator: false,
    });
  });

for (const [name, verb] of Object.entries(forOperators))
  test(`${name} refuses all but the operator`, async () => {
    expect(await refusals(verb)).toEqual({
      anonymous: true,
      self: true,
      other: true,
      superuser: true,
      operator: false,
    });
  });
