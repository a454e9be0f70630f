import { describe, expect, test } from "bun:test";
import { attacker, type Client, owner, SECOND, stolenTokens } from "../support/stolen-tokens.ts";
import { PASSWORD } from "../support/world.ts";

describe("a retry of the token just spent", () => {
  test("from another client gets no successor, ends the session, and notifies the user", async () => {
    const here = await stolenTokens();
    const { device, ...stolen } = await here.signIn();
    // The attacker polls until the owner has refreshed, and retries within the grace.
    const me = () => here.as(stolen.access).get("/users/me/sessions");
    const before = (await me()).body[0].last_used_at;
    here.pass(SECOND);
    const latest = await here.next(stolen.refresh, { ...owner, device });
    expect((await me()).body[0].last_used_at).not.toBe(before);
    const answer = await here.refresh(stolen.refresh, attacker);
    expect([answer.status, answer.body.code]).toEqual([401, "invalid_refresh_token"]);
    expect(await here.isAlive(stolen.access)).toBe(false);
    expect((await here.refresh(latest, { ...owner, device })).status).toBe(401);
    expect(await here.reuses()).toBe(1);
    expect(await here.textsFor("ada@example.com", "reuse_detected")).toHaveLength(1);
  });

  const known = "a device token";
  const cases: [string, (device: string, other: string) => [Client, Client], boolean][] = [
    [
      `with ${known}, from anywhere`,
      (device) => [
        { ...owner, device },
        { ...attacker, device },
      ],
      true,
    ],
    [`without ${known}, same network`, () => [owner, { ...owner, ip: "203.0.113.200" }], true],
    [
      `without ${known}, same /64`,
      () => [
        { ...owner, ip: "2001:db8:0:1::1" },
        { ...owner, ip: "2001:db8:0:1:ffff::2" },
      ],
      true,
    ],
    [`without ${known}, another network`, () => [owner, { ...owner, ip: "203.0.114.7" }], false],
    [
      `without ${known}, another /64`,
      () => [
        { ...owner, ip: "2001:db8:0:1::1" },
        { ...owner, ip: "2001:db8:0:2::1" },
      ],
      false,
    ],
    [`without ${known}, another program`, () => [owner, { ...owner, agent: "curl" }], false],
    ["the device token missing", (device) => [{ ...owner, device }, owner], false],
    ["the device token added", (device) => [owner, { ...owner, device }], false],
    [
      "another device token",
      (device, other) => [
        { ...owner, device },
        { ...owner, device: other },
      ],
      false,
    ],
    [
      "a made-up device token",
      (device) => [
        { ...owner, device },
        { ...owner, device: `${device}x` },
      ],
      false,
    ],
    [
      "the device token of another user, which counts as none",
      () => [owner, { ...owner, device: "theirs" }],
      true,
    ],
  ];
  for (const [name, clientsOf, isSame] of cases)
    test(`${name}: ${isSame ? "the same successor" : "a reuse"}`, async () => {
      const here = await stolenTokens();
      const { refresh, device } = await here.signIn();
      const { device: other } = await here.signIn();
      await here.newUser("bob@example.com");
      const bob = await here.call("/api/v1/auth/login", attacker, {
        username: "bob@example.com",
        password: PASSWORD,
      });
      const theirs = bob.headers.get("device-token") ?? "";
      const [first, second] = clientsOf(device, other).map((each) =>
        each.device === "theirs" ? { ...each, device: theirs } : each,
      ) as [Client, Client];
      const successor = await here.next(refresh, first);
      const again = await here.refresh(refresh, second);
      expect([again.status, again.body.refresh_token]).toEqual(
        isSame ? [200, successor] : [401, undefined],
      );
      expect(await here.reuses()).toBe(isSame ? 0 : 1);
    });

  test("whose successor is spent too is refused: the session continues if its own client sent it, and ends otherwise", async () => {
    const here = await stolenTokens();
    for (const [from, isLiving] of [
      [owner, true],
      [attacker, false],
    ] as const) {
      const { refresh } = await here.signIn();
      const latest = await here.next(await here.next(refresh, owner), owner);
      expect((await here.refresh(refresh, from)).status).toBe(401);
      expect((await here.refresh(latest, owner)).status === 200).toBe(isLiving);
    }
  });

  test("that a dozen rotations within the grace have overtaken is refused, and the session continues", async () => {
    const here = await stolenTokens();
    const { refresh } = await here.signIn();
    let latest = refresh;
    for (let turn = 0; turn < 12; turn += 1) latest = await here.next(latest, owner);
    expect((await here.refresh(refresh, owner)).status).toBe(401);
    expect([await here.reuses(), (await here.refresh(latest, owner)).status]).toEqual([0, 200]);
  });

  test("is reuse at once if REFRESH_GRACE_SECONDS is 0", async () => {
    const here = await stolenTokens({ refreshGraceSeconds: 0 });
    const { refresh } = await here.signIn();
    const latest = await here.next(refresh, owner);
    expect((await here.refresh(refresh, owner)).status).toBe(401);
    expect([await here.reuses(), (await here.refresh(latest, owner)).status]).toEqual([1, 401]);
  });

  test("is counted on the session and recorded, at most twenty times an hour for each user", async () => {
    const here = await stolenTokens();
    const { refresh } = await here.signIn();
    const recorded = () => here.countOf("session.refresh_retried");
    await here.next(refresh, owner);
    expect(await recorded()).toBe(0);
    await here.refresh(refresh, owner);
    expect(await recorded()).toBe(1);
    const { refresh: second, access } = await here.signIn();
    await Promise.all(Array.from({ length: 30 }, () => here.refresh(second, owner)));
    const rows = await here.sql`select retries from sessions order by retries`;
    expect(rows.map(({ retries }) => retries)).toEqual([0, 1, 29]);
    expect(await recorded()).toBe(20);
    const { body: events } = await here.as(access).get("/users/me/events");
    const retried = events.find(({ type }: { type: string }) => type === "session.refresh_retried");
    expect(retried.data.session_id).toEqual(expect.any(String));
    here.pass(3_601 * SECOND);
    const { refresh: third } = await here.signIn();
    await here.next(third, owner);
    await here.refresh(third, owner);
    expect(await recorded()).toBe(21);
  });

  test("of a rotation by the previous version gets the response of that version", async () => {
    const here = await stolenTokens();
    const { refresh } = await here.signIn();
    const successor = await here.next(refresh, owner);
    await here.sql`update sessions set rotated_by_device = null, rotated_by = null`;
    expect(await here.next(refresh, attacker)).toBe(successor);
  });
});
