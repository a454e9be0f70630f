import { expect, test } from "bun:test";
import { ipOf, proxiedWorld, wrong } from "../support/proxied-world.ts";
import { PASSWORD } from "../support/world.ts";

const OWNER = "ada@example.com";
const once = { quota: 1, refill: 1, periodSeconds: 900 };

/** Signs in as a browser would, with a cookie jar of one cookie per name. */
async function browsers(publicUrl = "https://accounts.example.com") {
  const here = await proxiedWorld({ "login-account": once }, { publicUrl });
  let caller = 0;
  const signIn = (
    username: string,
    headers: Record<string, string> = {},
    password: string = PASSWORD,
  ) => {
    caller += 1;
    return here.post(
      "login",
      { "x-forwarded-for": ipOf(caller), ...headers },
      { username, password },
    );
  };
  /** After this, only a known device of the owner can sign in. */
  const useUpLimit = async () => {
    expect((await signIn(OWNER, {}, wrong)).status).toBe(401);
    expect((await signIn(OWNER)).status).toBe(429);
  };
  return { ...here, signIn, useUpLimit };
}

/** `name=value` of the device cookie that a response sets. */
const cookieOf = ({ headers }: { headers: Headers }) =>
  headers.get("set-cookie")?.split(";")[0] ?? "";
const tokensOf = (cookie: string) => cookie.slice(cookie.indexOf("=") + 1);

test("over https the cookie carries the __Host- prefix, which no other host can set", async () => {
  const { signIn } = await browsers();
  const answer = await signIn(OWNER);
  const attributes = answer.headers.get("set-cookie")?.split("; ") ?? [];
  expect(attributes[0]).toBe(`__Host-bunker_device=${answer.headers.get("device-token")}`);
  expect(attributes.slice(1).sort()).toEqual(
    ["HttpOnly", "Max-Age=34560000", "Path=/", "SameSite=Lax", "Secure"].sort(),
  );
});

test("over http, where browsers refuse that prefix, the cookie has the old name", async () => {
  const { signIn } = await browsers("http://localhost:3000");
  const cookie = (await signIn(OWNER)).headers.get("set-cookie");
  expect(cookie).toStartWith("bunker_device=dt_");
  expect(cookie).not.toContain("Secure");
});

test("a client that is known by the old cookie stays known, and gets the new one", async () => {
  const { signIn, useUpLimit } = await browsers();
  const token = tokensOf(cookieOf(await signIn(OWNER)));
  await useUpLimit();
  const answer = await signIn(OWNER, { cookie: `bunker_device=${token}` });
  expect([answer.status, cookieOf(answer)]).toEqual([200, `__Host-bunker_device=${token}`]);
});

test("another user's sign-in in the same browser keeps the owner's device known", async () => {
  const { signIn, useUpLimit, newUser } = await browsers();
  await newUser("bob@example.com");
  const owner = await signIn(OWNER);
  const both = await signIn("bob@example.com", { cookie: cookieOf(owner) });
  expect(tokensOf(cookieOf(both)).split("~")).toEqual([
    both.headers.get("device-token") ?? "",
    owner.headers.get("device-token") ?? "",
  ]);
  await useUpLimit();
  const again = await signIn(OWNER, { cookie: cookieOf(both) });
  expect(again.status).toBe(200);
  expect(tokensOf(cookieOf(again)).split("~").reverse()).toEqual(
    tokensOf(cookieOf(both)).split("~"),
  );
});

test("a cookie keeps the eight users who signed in last, each once, and nothing made up", async () => {
  const { ctx, signIn } = await browsers();
  const others = Array.from({ length: 12 }, () =>
    ctx.devices.sign(crypto.randomUUID(), new Date()),
  );
  const madeUp = `${others[0]?.slice(0, -4)}AAAA`;
  const answer = await signIn(OWNER, {
    cookie: `__Host-bunker_device=${[madeUp, others[0], ...others].join("~")}`,
  });
  const token = answer.headers.get("device-token") ?? "";
  expect(tokensOf(cookieOf(answer)).split("~")).toEqual([token, ...others.slice(0, 7)]);
});

test("cookies that another host adds push nothing out of the __Host- cookie", async () => {
  const { ctx, signIn } = await browsers();
  const mine = Array.from({ length: 8 }, () => ctx.devices.sign(crypto.randomUUID(), new Date()));
  const added = Array.from({ length: 8 }, () => ctx.devices.sign(crypto.randomUUID(), new Date()));
  const answer = await signIn(OWNER, {
    cookie: `bunker_device=${added.join("~")}; __Host-bunker_device=${mine.join("~")}`,
  });
  expect(tokensOf(cookieOf(answer)).split("~").slice(1)).toEqual(mine.slice(0, 7));
});

test("neither added cookies nor a stale header hide a valid token", async () => {
  const { ctx, signIn, useUpLimit } = await browsers();
  const good = (await signIn(OWNER)).headers.get("device-token") ?? "";
  await useUpLimit();
  const made = ctx.devices.sign(crypto.randomUUID(), new Date());
  const forged = `${good.slice(0, -4)}AAAA`;
  // As many cookies as fit in a request.
  const added = Array.from({ length: 100 }, () => `bunker_device=${forged}`);
  const requests: Record<string, string>[] = [
    { cookie: `bunker_device=${forged}; bunker_device=${good}` },
    { cookie: `bunker_device="${good}"` },
    { cookie: [...added, `bunker_device=${good}`].join("; ") },
    { cookie: [...added, `__Host-bunker_device=${good}`].join("; ") },
    { cookie: `bunker_device=${good}`, "device-token": made },
    { cookie: `bunker_device=${good}`, "device-token": "dt_nonsense" },
    { cookie: `bunker_device=${made}`, "device-token": `${forged}, ${good}` },
  ];
  for (const headers of requests) {
    // A success of a known device clears the failures.
    expect((await signIn(OWNER, headers)).status).toBe(200);
    await useUpLimit();
  }
  const useless = [{ cookie: `bunker_device=${forged}` }, { "device-token": `${good}A` }];
  for (const headers of useless) expect((await signIn(OWNER, headers)).status).toBe(429);
});
