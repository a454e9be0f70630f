import { expect, test } from "bun:test";
import { clientKeyOf, isPrivate, networks, openProxyChain } from "../src/kit/network.ts";
import { readPolicies } from "../src/limits/policies.ts";

test("X-Forwarded-For is read from the right, as long as proxies are trusted", () => {
  const { clientOf: client } = openProxyChain(["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"]);
  const cases: [string, string | null, string][] = [
    ["203.0.113.9", "1.2.3.4", "203.0.113.9"],
    ["10.0.0.1", null, "10.0.0.1"],
    ["10.0.0.1", "1.2.3.4", "1.2.3.4"],
    ["10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"],
    ["10.0.0.1", "6.6.6.6, 1.2.3.4, 10.9.9.9, 192.0.2.1", "1.2.3.4"],
    ["10.0.0.1", "6.6.6.6, garbage, 10.2.2.2", "10.2.2.2"],
    ["10.0.0.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"],
    ["::ffff:10.0.0.1", "1.2.3.4:5678", "1.2.3.4"],
    ["2001:db8::7", "[2a00:1::5]:443", "2a00:1::5"],
    ["10.0.0.1", "", "10.0.0.1"],
    ["::ffff:a00:1", "::ffff:cb00:7107", "203.0.113.7"],
    ["10.0.0.1", "0:0:0:0:0:FFFF:203.0.113.7", "203.0.113.7"],
    ["10.0.0.1", "[0::ffff:cb00:7107]:443", "203.0.113.7"],
    ["10.0.0.1", "::ffff:0:cb00:7107", "::ffff:0:cb00:7107"],
  ];
  for (const [socket, header, expected] of cases) expect(client(socket, header)).toBe(expected);
  expect(openProxyChain([]).clientOf("127.0.0.1", "1.2.3.4")).toBe("127.0.0.1");
});

test("an IPv6 /64 network counts as one client, in every spelling", () => {
  expect(clientKeyOf("198.51.100.1")).toBe("198.51.100.1");
  for (const address of ["2001:DB8::1", "2001:db8:0:0:ffff::", "2001:0db8:0000:0000:1:2:3:4"])
    expect(clientKeyOf(address)).toBe("2001:db8:0:0::/64");
  expect(clientKeyOf("64:ff9b::203.0.113.7")).toBe("64:ff9b:0:0::/64");
  expect(clientKeyOf("::1")).toBe("0:0:0:0::/64");
});

test("settings of networks and limits refuse invalid values", () => {
  expect(networks("10.0.0.0/8, ::1")).toEqual(["10.0.0.0/8", "::1"]);
  for (const text of ["10.0.0.0/33", "proxy.example.com", "10.0.0.0/", "::/129", "1.2.3.4/8/9"])
    expect(() => networks(text)).toThrow();
  expect(readPolicies("register=50/3600,login=4+2/30")).toMatchObject({
    register: { quota: 50, refill: 50, periodSeconds: 3600 },
    login: { quota: 4, refill: 2, periodSeconds: 30 },
  });
  for (const text of ["register=0/60", "nothing=1/2", "register=50", "register=5/0"])
    expect(() => readPolicies(text)).toThrow();
});

test("a private IP is recognized", () => {
  for (const address of ["127.0.0.1", "::ffff:172.18.0.5", "::1", "fd00::1"])
    expect(isPrivate(address)).toBe(true);
  for (const address of ["172.32.0.1", "2001:db8::1", "nothing"])
    expect(isPrivate(address)).toBe(false);
});
