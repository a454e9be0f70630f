import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import type { Config } from "../config.ts";
import type { Ctx, User } from "../ctx.ts";
import { Exit } from "../kit/exit.ts";
import { isId } from "../kit/id.ts";
import { findCredentials, setPassword } from "../modules/passwords/passwords.ts";
import { listUsers } from "../modules/users/directory.ts";
import { userView } from "../modules/users/model.ts";
import {
  createUser,
  findUser,
  type NewUser,
  unlockUser,
  updateUser,
} from "../modules/users/users.ts";
import { print, type Typed } from "./terminal.ts";
import { withDatabase } from "./with-database.ts";

const operator = { kind: "operator" } as const;
const PAGE = 500;

export const create = (config: Config, { words: [email = ""], flags }: Typed) =>
  withPassword(config, flags, async (ctx, password) => {
    const username = flags["username"] as string | undefined;
    const fullName = flags["full-name"] as string | undefined;
    const isHash = flags["password-hash"] === true;
    const input = {
      email,
      password: isHash ? { hash: password.trim() } : password,
      username,
      fullName,
      isSuperuser: flags["superuser"] === true,
      verification: verificationBy(config, flags),
    };
    const user = await createUser(ctx, operator, input);
    print(`Made ${describe(user)}.`);
    if (input.verification === "asked") print("A link to prove the address is mailed to it.");
  });

/** Where addresses must be proven, an account whose address is not would be of no use without the link. */
function verificationBy(
  { requireEmailVerification }: Config,
  flags: Typed["flags"],
): NewUser["verification"] {
  if (flags["verified"] === true) return "known";
  return requireEmailVerification === "on" ? "asked" : undefined;
}

export const list = (config: Config, { flags }: Typed) =>
  withDatabase(config, async (ctx) => {
    let page = await listUsers(ctx, operator, { start: { skip: 0 }, limit: PAGE });
    while (page.length > 0) {
      for (const user of page)
        print(flags["json"] ? JSON.stringify(userView(user)) : describe(user));
      const last = page.at(-1);
      page = last ? await listUsers(ctx, operator, { start: last, limit: PAGE }) : [];
    }
  });

export const promote = (config: Config, { words: [name = ""] }: Typed) =>
  withDatabase(config, async (ctx) => {
    const { id } = await getNamed(ctx, name);
    print(`Promoted ${describe(await updateUser(ctx, operator, { id, isSuperuser: true }))}.`);
  });

export const deactivate = (config: Config, { words: [name = ""] }: Typed) =>
  withDatabase(config, async (ctx) => {
    const { id } = await getNamed(ctx, name);
    print(`Deactivated ${describe(await updateUser(ctx, operator, { id, isActive: false }))}.`);
  });

export const unlock = (config: Config, { words: [name = ""] }: Typed) =>
  withDatabase(config, async (ctx) => {
    const { id } = await getNamed(ctx, name);
    print(`Unlocked ${describe(await unlockUser(ctx, operator, id))}.`);
  });

export const changePassword = (config: Config, { words: [name = ""], flags }: Typed) =>
  withPassword(config, flags, async (ctx, password) => {
    const user = await getNamed(ctx, name);
    await setPassword(ctx, operator, { user, password });
    print(`Set a new password for ${describe(user)}.`);
  });

/** Reads the password before it opens anything: a person who is thinking keeps nobody else waiting. */
async function withPassword(
  config: Config,
  flags: Typed["flags"],
  work: (ctx: Ctx, password: string) => Promise<void>,
): Promise<void> {
  const password = await readNewPassword(flags["password-file"]);
  return withDatabase(config, (ctx) => work(ctx, password));
}

async function getNamed(ctx: Ctx, name: string): Promise<User> {
  const user = isId(name) ? await findUser(ctx, name) : await findCredentials(ctx, name);
  if (!user) throw new Exit("failed", "Nobody has that e-mail address, username or id.");
  return user;
}

const describe = ({ id, email, username, isActive, isSuperuser }: User) =>
  [`${id}  ${email}  ${username}`, isSuperuser ? "superuser" : "", isActive ? "" : "deactivated"]
    .filter((word) => word !== "")
    .join("  ");

async function readNewPassword(file: string | boolean | undefined): Promise<string> {
  const withoutNewline = (text: string) => text.replace(/\r?\n$/, "");
  if (typeof file === "string") {
    try {
      return withoutNewline(readFileSync(file, "utf8"));
    } catch (error) {
      throw new Exit(
        "failed",
        `The password file cannot be read (${(error as NodeJS.ErrnoException).code}).`,
      );
    }
  }
  if (!process.stdin.isTTY) return withoutNewline(await Bun.stdin.text());
  return ask("New password: ");
}

/** Asks on the terminal without showing what is typed. */
async function ask(question: string): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  process.stderr.write(question);
  try {
    return await new Promise((resolve, reject) => {
      terminal.question("", resolve);
      terminal.once("close", () => reject(new Exit("failed", "Nothing was changed.")));
    });
  } finally {
    terminal.close();
    process.stderr.write("\n");
  }
}
