import { setSystemTime } from "bun:test";
import { mailWorld } from "./mail-world.ts";
import { ipOf } from "./proxied-world.ts";
import type { Answer } from "./world.ts";

export const ADA = "ada@example.com";
export const NOBODY = "nobody@example.com";
export const MORNING = Date.parse("2026-11-28T09:00:00Z");
export const HOUR_MS = 3_600_000;

/** All of a response that a client sees, except the request id and the time. */
export const visible = ({ status, body, headers }: Answer) => ({
  status,
  body: typeof body === "object" && body !== null ? { ...body, request_id: "" } : body,
  headers: Object.fromEntries(
    [...headers].filter(([name]) => !["x-request-id", "date"].includes(name)),
  ),
});

/** A world with rate limits and a clock that stands still. */
export async function frozenWorld(settings: Parameters<typeof mailWorld>[0] = {}) {
  setSystemTime(MORNING);
  const limited = { rateLimit: "on", emailSignIn: "on" } as const;
  const here = await mailWorld({ ...limited, trustedProxies: ["127.0.0.1"], ...settings });
  let requests = 0;
  /** Sends each request from another client IP. */
  const ask = async (route: string, sent: object | string = {}, token = "") => {
    requests += 1;
    const [method = "", path = ""] = route.split(" ");
    const isForm = typeof sent === "string";
    const answer = await here.send(method, path, {
      headers: {
        "content-type": isForm ? "application/x-www-form-urlencoded" : "application/json",
        "x-forwarded-for": ipOf(requests),
        ...(token === "" ? {} : { authorization: token }),
      },
      ...(["GET", "HEAD"].includes(method) ? {} : { body: isForm ? sent : JSON.stringify(sent) }),
    });
    return visible(answer);
  };
  return { ...here, ask };
}
