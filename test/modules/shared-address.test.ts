/** Many users behind one IP (NAT), one of whom uses up the limits of the IP. */
import { expect, test } from "bun:test";
import { createApp } from "../../src/app.ts";
import { deviceTokens } from "../../src/credentials/device-token.ts";
import { few, ipOf, proxiedWorld } from "../support/proxied-world.ts";
import { PASSWORD } from "../support/world.ts";

const OFFICE = ipOf(7);

/** A network with one IP. `known` are the headers of a client that signed in there as Ada. */
async function sharedIpWorld(limits: object, publicUrl = "https://accounts.example.com") {
  const here = await proxiedWorld(limits, { publicUrl, emailSignIn: "on" });
  const { headers } = await here.logIn(OFFICE);
  const device = headers.get("device-token") ?? "";
  const from = (extra: Record<string, string> = {}) => ({ "x-forwarded-for": OFFICE, ...extra });
  let asked = 0;
  /** Requests a mail to a new email each time, so that only the IP or the client counts. */
  const askForMail = async (extra?: Record<string, string>, path = "password/forgot") => {
    asked += 1;
    return (await here.post(path, from(extra), { email: `p${asked}@example.com` })).status;
  };
  const useUp = async (extra?: Record<string, string>) => {
    for (let at = 0; at < few.quota; at += 1) expect(await askForMail(extra)).toBe(202);
    expect(await askForMail(extra)).toBe(429);
  };
  return { ...here, from, askForMail, useUp, device, cookie: `__Host-bunker_device=${device}` };
}

test("a known device can request mails when its IP has used up the limit, with its own limit", async () => {
  const { askForMail, useUp, cookie, device } = await sharedIpWorld({ "mail-address": few });
  await useUp();
  expect(await askForMail({ cookie })).toBe(202);
  expect(await askForMail({ "device-token": device }, "email-code")).toBe(202);
  expect(await askForMail({ cookie }, "email/verify/resend")).toBe(202);
  expect(await askForMail({ cookie })).toBe(429);
});

test("several devices of one user share one limit; another user has a separate limit", async () => {
  const { ctx, askForMail, useUp, newUser } = await sharedIpWorld({ "mail-address": few });
  await useUp();
  const bob = await newUser("bob@example.com");
  const devices = [1, 2, 3, 4].map(() => ctx.devices.sign(bob.id, new Date()));
  const statuses = [];
  for (const token of devices) statuses.push(await askForMail({ "device-token": token }));
  expect(statuses).toEqual([202, 202, 202, 429]);
  const carol = ctx.devices.sign((await newUser("carol@example.com")).id, new Date());
  expect(await askForMail({ "device-token": carol })).toBe(202);
});

test("a token that we did not issue counts by IP", async () => {
  const { askForMail, useUp, device } = await sharedIpWorld({ "mail-address": few });
  await useUp();
  for (const token of [`${device.slice(0, -4)}AAAA`, "dt_nonsense"])
    expect(await askForMail({ "device-token": token })).toBe(429);
});

test("a client whose user has used up the limit still has that of its IP", async () => {
  const { ctx, askForMail, useUp, newUser } = await sharedIpWorld({ "mail-address": few });
  // Another user signed in on this machine, and uses up their limit from elsewhere.
  const mallory = ctx.devices.sign((await newUser("mallory@example.com")).id, new Date());
  for (let at = 0; at < few.quota; at += 1)
    expect(await askForMail({ "device-token": mallory, "x-forwarded-for": ipOf(99) })).toBe(202);
  await useUp({ "device-token": mallory });
});

test("a known device opens links, and gets 401 instead of 429, when its IP has used up the limit", async () => {
  const { send, from, cookie } = await sharedIpWorld({ "requests-anonymous": few });
  const open = async (extra?: Record<string, string>) =>
    (await send("GET", "/reset-password?token=ot_x", { headers: from(extra) })).status;
  const me = async (extra?: Record<string, string>) =>
    (await send("GET", "/api/v1/users/me", { headers: from(extra) })).status;
  for (let at = 0; at < few.quota; at += 1) expect(await me()).toBe(401);
  expect([await me(), await open()]).toEqual([429, 429]);
  expect([await me({ cookie }), await open({ cookie })]).toEqual([401, 400]);
});

test("registrations, and sign-ins to a user for whom the client is unknown, count by IP", async () => {
  const { post, from, cookie, newUser } = await sharedIpWorld({
    register: few,
    "login-address": few,
  });
  await newUser("bob@example.com");
  const register = async (email: string) =>
    (await post("register", from({ cookie }), { email, password: PASSWORD })).status;
  expect(
    await Promise.all(["1@example.com", "2@example.com", "3@example.com"].map(register)),
  ).toEqual([201, 201, 201]);
  expect(await register("4@example.com")).toBe(429);
  const signIn = async (username: string) =>
    (await post("login", from({ cookie }), { username, password: "wrong" })).status;
  // Ada's first sign-in here was by an unknown client.
  expect([await signIn("bob@example.com"), await signIn("bob@example.com")]).toEqual([401, 401]);
  expect(await signIn("bob@example.com")).toBe(429);
  expect(await signIn("ada@example.com")).toBe(401);
});

test("an app that is created later in the process, as by a reload, uses its own keys on every route", async () => {
  const { ctx, from } = await sharedIpWorld({ "requests-anonymous": few });
  const devices = deviceTokens([Buffer.alloc(32, 7)]);
  const app = createApp({ ...ctx, devices });
  app.server = { requestIP: () => ({ address: "127.0.0.1" }) } as unknown as typeof app.server;
  const open = async (extra?: Record<string, string>) => {
    const url = "http://localhost/reset-password?token=ot_x";
    return (await app.handle(new Request(url, { headers: from(extra) }))).status;
  };
  for (let at = 0; at < few.quota; at += 1) expect(await open()).toBe(400);
  expect(await open()).toBe(429);
  expect(await open({ "device-token": devices.sign(crypto.randomUUID(), new Date()) })).toBe(400);
});
