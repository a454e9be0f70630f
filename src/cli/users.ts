import type { Config } from "../config/config.ts";
import type { Ctx, User } from "../ctx.ts";
import { describePlace } from "../db/explain.ts";
import type { PageStart } from "../db/page.ts";
import { Exit } from "../kit/exit.ts";
import { isId } from "../kit/id.ts";
import { findCredentials, setPassword } from "../modules/passwords/passwords.ts";
import { findUsers, listUsers } from "../modules/users/directory.ts";
import { userView } from "../modules/users/model.ts";
import {
  createUser,
  deleteUser,
  findUser,
  type NewUser,
  unlockUser,
  updateUser,
} from "../modules/users/users.ts";
import { type Answer, type JsonFlag, printAnswer, printList } from "../terminal.ts";
import { readNewPassword } from "./new-password.ts";
import { changeDatabase, readDatabase } from "./with-database.ts";

const operator = { kind: "operator" } as const;
const PAGE = 500;

type PasswordFlag = { "password-file"?: string };
type CreateFlags = JsonFlag &
  PasswordFlag & {
    username?: string;
    "full-name"?: string;
    superuser?: boolean;
    verified?: boolean;
    "password-hash"?: boolean;
  };

/** Reads the password first: the database must not stay open while the operator types. */
export async function create(flags: CreateFlags, email: string): Promise<void> {
  const password = await readNewPassword(flags["password-file"]);
  await changeDatabase(flags.json, async (ctx) => {
    const verification = verificationBy(ctx.config, flags);
    const user = await createUser(ctx, operator, {
      email,
      username: flags.username,
      fullName: flags["full-name"],
      verification,
      password: flags["password-hash"] ? { hash: password } : password,
      isSuperuser: flags.superuser ?? false,
    });
    const result = resultOf(user, "Created");
    if (verification !== "asked") return result;
    return { ...result, text: `${result.text}\nA link to verify the email is mailed to it.` };
  });
}

/** A user who must verify the email cannot sign in before, so a link is mailed. */
function verificationBy(
  { requireEmailVerification }: Config,
  { verified }: CreateFlags,
): NewUser["verification"] {
  if (verified) return "known";
  return requireEmailVerification === "on" ? "asked" : undefined;
}

export const list = ({ json: isJson }: JsonFlag) =>
  readDatabase((ctx) => {
    const rows = allRows((start) => listUsers(ctx, operator, { start, limit: PAGE }));
    const empty = "There is no user. Create one: bunker users create EMAIL";
    return printList(rows, isJson, { json: userView, text: describe, empty });
  });

export const find = ({ json: isJson }: JsonFlag, text: string) =>
  readDatabase((ctx) => {
    const rows = allRows((start) => findUsers(ctx, operator, { text, start, limit: PAGE }));
    const empty = "No user has this text in the email, the username or the full name.";
    return printList(rows, isJson, { json: userView, text: describe, empty });
  });

async function* allRows(read: (start: PageStart) => Promise<User[]>): AsyncGenerator<User> {
  let page = await read({ skip: 0 });
  for (let last = page.at(-1); last !== undefined; last = page.at(-1)) {
    yield* page;
    page = await read(last);
  }
}

export const show = ({ json: isJson }: JsonFlag, name: string) =>
  readDatabase(async (ctx) => {
    const json = userView(await getNamed(ctx, name));
    const lines = Object.entries(json).map(([key, it]) => `${key.padEnd(16)}${it ?? ""}`.trimEnd());
    printAnswer({ json, text: lines.join("\n") }, isJson);
  });

type Change = Pick<Parameters<typeof updateUser>[2], "isActive" | "isSuperuser">;

const changeTo =
  (change: Change, verb: string) =>
  ({ json: isJson }: JsonFlag, name: string): Promise<void> =>
    changeDatabase(isJson, async (ctx) => {
      const before = await getNamed(ctx, name);
      const user = await updateUser(ctx, operator, { id: before.id, ...change });
      const isUnchanged = user.updatedAt.getTime() === before.updatedAt.getTime();
      return { ...resultOf(user, isUnchanged ? "Nothing to change:" : verb), isUnchanged };
    });

export const promote = changeTo({ isSuperuser: true }, "Promoted");
export const demote = changeTo({ isSuperuser: false }, "Demoted");
export const activate = changeTo({ isActive: true }, "Activated");
export const deactivate = changeTo({ isActive: false }, "Deactivated");

export const unlock = ({ json: isJson }: JsonFlag, name: string) =>
  changeDatabase(isJson, async (ctx) => {
    const { id } = await getNamed(ctx, name);
    return resultOf(await unlockUser(ctx, operator, id), "Unlocked");
  });

export async function changePassword(
  { json: isJson, "password-file": file }: JsonFlag & PasswordFlag,
  name: string,
): Promise<void> {
  const password = await readNewPassword(file);
  await changeDatabase(isJson, async (ctx) => {
    const user = await getNamed(ctx, name);
    await setPassword(ctx, operator, { user, password });
    return resultOf(user, "Set a new password for");
  });
}

export const remove = ({ json: isJson, yes }: JsonFlag & { yes?: boolean }, name: string) =>
  changeDatabase(isJson, async (ctx) => {
    const user = await getNamed(ctx, name);
    if (!yes)
      throw new Exit(
        "usage",
        `This command deletes ${describe(user)}\nfrom ${describePlace(ctx.config)}. To confirm, add --yes.`,
      );
    await deleteUser(ctx, operator, { id: user.id });
    return { json: { id: user.id, is_deleted: true }, text: `Deleted ${describe(user)}.` };
  });

async function getNamed(ctx: Ctx, name: string): Promise<User> {
  const user = isId(name) ? await findUser(ctx, name) : await findCredentials(ctx, name);
  if (user) return user;
  throw new Exit(
    "failed",
    `No user has this email, username or ID in ${describePlace(ctx.config)}.`,
  );
}

const resultOf = (user: User, verb: string): Answer => ({
  json: userView(user),
  text: `${verb} ${describe(user)}.`,
});

const describe = ({ id, email, username, isActive, isSuperuser }: User) =>
  [`${id}  ${email}  ${username}`, isSuperuser ? "superuser" : "", isActive ? "" : "deactivated"]
    .filter((word) => word !== "")
    .join("  ");
