import { createClient } from "../../src/modules/oauth/clients.ts";
import { mailWorld } from "./mail-world.ts";
import { PASSWORD } from "./world.ts";

export const SECOND = 1000;

/** The IP, user agent and device token of a request. */
export interface Client {
  ip: string;
  agent: string;
  device?: string;
}
export const owner: Client = { ip: "203.0.113.7", agent: "Firefox" };
export const attacker: Client = { ip: "198.51.100.9", agent: "curl" };

/** A world in which an attacker has the tokens of a user. */
export async function stolenTokens(settings: Parameters<typeof mailWorld>[0] = {}) {
  const here = await mailWorld({ trustedProxies: ["127.0.0.1"], ...settings });
  await here.verifiedUser();
  const call = (path: string, from: Client & { authorization?: string }, body?: object) =>
    here.send("POST", path, {
      headers: {
        "x-forwarded-for": from.ip,
        "user-agent": from.agent,
        ...(from.device ? { "device-token": from.device } : {}),
        ...(body ? { "content-type": "application/json" } : {}),
        ...(from.authorization ? { authorization: from.authorization } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
  const signIn = async (from: Client = owner) => {
    const login = { username: "ada@example.com", password: PASSWORD };
    const { body, headers } = await call("/api/v1/auth/login", from, login);
    return {
      access: String(body.access_token),
      refresh: String(body.refresh_token),
      device: headers.get("device-token") ?? "",
    };
  };
  const refresh = (token: string, from: Client) =>
    call("/api/v1/auth/refresh", from, { refresh_token: token });
  const next = async (token: string, from: Client): Promise<string> =>
    (await refresh(token, from)).body.refresh_token;
  const logOut = (token: string, from: Client, body: object = {}) =>
    call("/api/v1/auth/logout", from, { refresh_token: token, ...body });
  const { client, secret } = await createClient(here.ctx, { kind: "operator" }, "reports");
  const credentials = `Basic ${Buffer.from(`${client.id}:${secret}`).toString("base64")}`;
  const form = (path: string, fields: Record<string, string>, authorization?: string) =>
    here.form(`/oauth/${path}`, fields, {
      "x-forwarded-for": owner.ip,
      "user-agent": owner.agent,
      ...(authorization ? { authorization } : {}),
    });
  const isAlive = async (access: string) => (await here.as(access).get("/users/me")).status === 200;
  const countOf = async (type: string) => {
    const [row] = await here.sql`select count(*)::int as n from events where type = ${type}`;
    return Number(row?.["n"]);
  };
  return {
    ...here,
    call,
    signIn,
    refresh,
    next,
    logOut,
    form,
    credentials,
    isAlive,
    countOf,
    reuses: () => countOf("session.reuse_detected"),
  };
}
