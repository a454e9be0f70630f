import type { Server } from "./servers.ts";

const PASSWORD = "correct horse battery staple";
const USERS = 110;
const AT_ONCE = 4;

/** The superuser that Bunker creates at its first start. */
export const superuser = { email: "root@bench.example.org", password: PASSWORD };
export const superuserSettings = {
  FIRST_SUPERUSER_EMAIL: superuser.email,
  FIRST_SUPERUSER_PASSWORD: superuser.password,
};
export const user = { email: "user-0@bench.example.org", password: PASSWORD };
/** Another user, for work that would end the sessions of `user`. */
export const other = { email: "user-1@bench.example.org", password: PASSWORD };

/** Registers enough users for a full page of the list. */
export async function registerUsers(bunker: Server): Promise<void> {
  const emails = Array.from({ length: USERS }, (_, number) => `user-${number}@bench.example.org`);
  const work = async () => {
    for (let email = emails.pop(); email; email = emails.pop())
      await post(bunker, "auth/register", { email, password: PASSWORD, full_name: "Ada Lovelace" });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

export const signInBody = ({ email, password }: typeof user) =>
  JSON.stringify({ username: email, password });

/** Signs in, and returns the tokens. */
export async function openSession(
  bunker: Server,
  who: typeof user,
): Promise<{ access_token: string; refresh_token: string }> {
  const token = await post(bunker, "auth/login", JSON.parse(signInBody(who)));
  const { access_token = "", refresh_token = "" } = token as Record<string, string>;
  return { access_token, refresh_token };
}

/** Signs in, and returns the access token. */
export const signIn = async (bunker: Server, who: typeof user): Promise<string> =>
  (await openSession(bunker, who)).access_token;

async function post(
  { port }: Server,
  path: string,
  body: Record<string, string>,
): Promise<Record<string, unknown>> {
  const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path} returned ${response.status} ${await response.text()}`);
  return (await response.json()) as Record<string, unknown>;
}
