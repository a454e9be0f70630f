import type { Config } from "../../src/config/config.ts";
import { policies } from "../../src/limits/policies.ts";
import { PASSWORD, world } from "./world.ts";

/** A world behind a proxy, in which each request has a client IP. */
export async function proxiedWorld(
  limits: Partial<typeof policies> | object = {},
  settings: Partial<Config> = {},
) {
  const here = await world({
    trustedProxies: ["127.0.0.1"],
    limits: { ...policies, ...limits },
    ...settings,
  });
  const post = (path: string, from: string | Record<string, string>, body: object) =>
    here.send("POST", `/api/v1/auth/${path}`, {
      headers: {
        "content-type": "application/json",
        ...(typeof from === "string" ? { "x-forwarded-for": from } : from),
      },
      body: JSON.stringify(body),
    });
  const logIn = (from: string, password = PASSWORD, device = "") =>
    post(
      "login",
      { "x-forwarded-for": from, "device-token": device },
      { username: "ada@example.com", password },
    );
  await here.newUser();
  return { ...here, post, logIn };
}
/** One of many public IPs. */
export const ipOf = (number: number) => `198.51.${number >> 8}.${number & 255}`;

export const countOf = (answers: { status: number }[], status: number) =>
  answers.filter((answer) => answer.status === status).length;

export const wrong = "not the password at all";
export const few = { quota: 3, refill: 3, periodSeconds: 60 };
