import { describe, expect, test } from "bun:test";
import { isPublicIp } from "../src/kit/public-ip.ts";
import { type ReceiverRules, readWebhookUrl, receivers } from "../src/kit/webhook-url.ts";

const production: ReceiverRules = { webhooksAllow: [], webhooksAllowPrivate: false };
const withAllowed = (list: string): ReceiverRules => ({
  webhooksAllow: receivers(list),
  webhooksAllowPrivate: false,
});
const read = (url: string, rules = production): string => {
  const result = readWebhookUrl(url, rules);
  return typeof result === "string" ? result : result.detail;
};

const NOT_URL = "is not a URL such as https://example.com/webhooks";
const NOT_HTTPS = "must begin with https://, unless WEBHOOKS_ALLOW has its host and port";
const NOT_PUBLIC_IP = "has an IP that is not public";
const NOT_PUBLIC_NAME = "has a host name that is not public";
const BAD_NAME = "has an invalid host name";
const BAD_PORT = "has a port that belongs to another protocol";
const USERINFO = "has a user or password before the host";
const FRAGMENT = "has a fragment (#), which is never sent";
const TOO_LONG = "may have at most 2048 characters";

const refused: [string, string][] = [
  // Not what a URL parser and a person read alike.
  ["", NOT_URL],
  ["example.com/hook", NOT_URL],
  ["//example.com/hook", NOT_URL],
  ["https:example.com", NOT_URL],
  ["https:/example.com", NOT_URL],
  ["https:///example.com", NOT_URL],
  ["https:\\\\example.com", NOT_URL],
  ["https://example.com\\@127.0.0.1/", NOT_URL],
  ["https://exam\nple.com/", NOT_URL],
  ["https://example.com/a b", NOT_URL],
  ["https://exam\u00adple.com/", NOT_URL],
  ["https://example.com/\u0000", NOT_URL],
  ["https://example%00.com/", NOT_URL],
  ["https://example.com:65536/", NOT_URL],
  ["https://example.com:-1/", NOT_URL],
  ["https://256.1.1.1/", NOT_URL],
  ["https://1.1.1.1.1/", NOT_URL],
  ["https://[fe80::1%25eth0]/", NOT_URL],
  ["https://[::1].example.com/", NOT_URL],
  ["https://xn--a/", NOT_URL],
  ["ftp://example.com/", NOT_URL],
  ["file:///etc/passwd", NOT_URL],
  ["javascript:alert(1)", NOT_URL],
  ["gopher://127.0.0.1:6379/_FLUSHALL", NOT_URL],
  ["http://example.com/hook", NOT_HTTPS],
  ["HTTP://8.8.8.8/", NOT_HTTPS],
  // Parts that have no meaning, or another one.
  ["https://user@example.com/", USERINFO],
  ["https://:password@example.com/", USERINFO],
  ["https://@example.com/", USERINFO],
  ["https://example.com@127.0.0.1/", USERINFO],
  ["https://example.com/#", FRAGMENT],
  ["https://example.com/#fragment", FRAGMENT],
  [`https://example.com/${"a".repeat(2030)}`, TOO_LONG],
  [`https://example.com/${"é".repeat(400)}`, TOO_LONG],
  // Ports.
  ["https://example.com:0/", BAD_PORT],
  ["https://example.com:22/", BAD_PORT],
  ["https://example.com:25/", BAD_PORT],
  ["https://example.com:6667/", BAD_PORT],
  ["https://example.com:10080/", BAD_PORT],
  // Names.
  ["https://localhost/", NOT_PUBLIC_NAME],
  ["https://LOCALHOST./", NOT_PUBLIC_NAME],
  ["https://ⓛocalhost/", NOT_PUBLIC_NAME],
  ["https://a.b.localhost:8443/", NOT_PUBLIC_NAME],
  ["https://printer.local/", NOT_PUBLIC_NAME],
  ["https://metadata.google.internal/computeMetadata/v1/", NOT_PUBLIC_NAME],
  ["https://router.home.arpa/", NOT_PUBLIC_NAME],
  ["https://postgres/", NOT_PUBLIC_NAME],
  ["https://bücher/", NOT_PUBLIC_NAME],
  ["https://example.com../", BAD_NAME],
  ["https://.example.com/", BAD_NAME],
  ["https://a..example.com/", BAD_NAME],
  ["https://-a.example.com/", BAD_NAME],
  ["https://*.example.com/", BAD_NAME],
  ["https://a'b.example.com/", BAD_NAME],
  [`https://${"a".repeat(64)}.example.com/`, BAD_NAME],
  // IPs, in every spelling.
  ["https://127.0.0.1/", NOT_PUBLIC_IP],
  ["https://127.0.0.1./", NOT_PUBLIC_IP],
  ["https://127.1/", NOT_PUBLIC_IP],
  ["https://2130706433/", NOT_PUBLIC_IP],
  ["https://0x7f000001/", NOT_PUBLIC_IP],
  ["https://0177.0.0.1/", NOT_PUBLIC_IP],
  ["https://0x7f.0.0.0x1/", NOT_PUBLIC_IP],
  ["https://%31%32%37.0.0.1/", NOT_PUBLIC_IP],
  ["https://１２７.０.０.１/", NOT_PUBLIC_IP],
  ["https://①②⑦.⓪.⓪.①/", NOT_PUBLIC_IP],
  ["https://127。0。0。1/", NOT_PUBLIC_IP],
  ["https://0/", NOT_PUBLIC_IP],
  ["https://169.254.169.254/latest/meta-data/", NOT_PUBLIC_IP],
  ["https://2852039166/latest/meta-data/", NOT_PUBLIC_IP],
  ["https://168.63.129.16/", NOT_PUBLIC_IP],
  ["https://[::]/", NOT_PUBLIC_IP],
  ["https://[::1]:8443/", NOT_PUBLIC_IP],
  ["https://[0:0:0:0:0:0:0:1]/", NOT_PUBLIC_IP],
  ["https://[::ffff:127.0.0.1]/", NOT_PUBLIC_IP],
  ["https://[::ffff:7f00:1]/", NOT_PUBLIC_IP],
  ["https://[::127.0.0.1]/", NOT_PUBLIC_IP],
  ["https://[64:ff9b::10.0.0.1]/", NOT_PUBLIC_IP],
  ["https://[2002:7f00:1::]/", NOT_PUBLIC_IP],
  ["https://[fd00:ec2::254]/latest/meta-data/", NOT_PUBLIC_IP],
];

describe("a webhook URL is refused in production", () => {
  for (const [url, reason] of refused)
    test(`${JSON.stringify(url.slice(0, 60))}: ${reason}`, () => expect(read(url)).toBe(reason));
});

const accepted: [string, string][] = [
  ["https://example.com", "https://example.com/"],
  [" https://example.com/hook?token=a%20b&x ", "https://example.com/hook?token=a%20b&x"],
  ["HTTPS://Hooks.Example.COM:443/Path", "https://hooks.example.com/Path"],
  ["https://example.com.:8443/", "https://example.com:8443/"],
  ["https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4"],
  ["https://my_hook.example.com:65535/", "https://my_hook.example.com:65535/"],
  ["https://134744072/", "https://8.8.8.8/"],
  ["https://[2606:4700:4700::1111]/", "https://[2606:4700:4700::1111]/"],
  ["https://[::ffff:8.8.8.8]/", "https://[::ffff:808:808]/"],
  ["https://localhost.example.com/", "https://localhost.example.com/"],
];

test("a webhook URL is accepted in one spelling", () => {
  for (const [url, normalized] of accepted) {
    expect([url, read(url)]).toEqual([url, normalized]);
    expect(read(normalized)).toBe(normalized);
  }
});

test("WEBHOOKS_ALLOW allows exactly one host and port, by http or https", () => {
  const rules = withAllowed("product:8080, 10.0.0.7:80 [fd00::7]:443,Shop.internal.:8443");
  const cases: [string, string][] = [
    ["http://product:8080/hook", "http://product:8080/hook"],
    ["https://PRODUCT.:8080/hook", "https://product:8080/hook"],
    ["http://10.0.0.7/", "http://10.0.0.7/"],
    ["http://0x0a.7/", "http://10.0.0.7/"],
    ["https://[fd00:0::7]/", "https://[fd00::7]/"],
    ["https://shop.internal:8443/", "https://shop.internal:8443/"],
    ["http://product/hook", NOT_HTTPS],
    ["https://product:8081/", NOT_PUBLIC_NAME],
    ["http://a.product:8080/", NOT_HTTPS],
    ["http://10.0.0.8/", NOT_HTTPS],
    ["https://10.0.0.7/", NOT_PUBLIC_IP],
    ["http://user@product:8080/", USERINFO],
  ];
  for (const [url, result] of cases) expect([url, read(url, rules)]).toEqual([url, result]);
});

test("WEBHOOKS_ALLOW is refused unless each entry is a host with a port", () => {
  for (const list of [
    "product",
    "http://product:8080",
    "product:8080/hook",
    "user@product:80",
    "product:0",
    "product:22",
    "product:99999",
    "*.internal:80",
    "fd00::7:443",
    "[fd00::7]",
    "10.0.0.0/8:80",
  ])
    expect(() => receivers(list), list).toThrow("must be hosts with a port");
});

test("WEBHOOKS_ALLOW_PRIVATE allows every host, but no other kind of URL", () => {
  const rules = { webhooksAllow: [], webhooksAllowPrivate: true };
  expect(read("http://localhost:3000/", rules)).toBe("http://localhost:3000/");
  expect(read("http://[::1]/", rules)).toBe("http://[::1]/");
  expect(read("ftp://localhost/", rules)).toBe(NOT_URL);
  expect(read("http://localhost:22/", rules)).toBe(BAD_PORT);
});

/** The first and last IP of each range that is not public, and the public ones beside it. */
const ranges: [string, string, string?, string?][] = [
  ["0.0.0.0", "0.255.255.255", "1.0.0.0"],
  ["10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"],
  ["100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"],
  ["127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"],
  ["168.63.129.16", "168.63.129.16", "168.63.129.15", "168.63.129.17"],
  ["169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"],
  ["172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"],
  ["192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"],
  ["192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"],
  ["192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0"],
  ["192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"],
  ["198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"],
  ["198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"],
  ["203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"],
  ["224.0.0.0", "239.255.255.255", "223.255.255.255"],
  ["240.0.0.0", "255.255.255.255"],
  ["::", "::1"],
  ["::8.8.8.8", "::ffff:0:8.8.8.8"],
  ["::ffff:10.0.0.0", "::ffff:10.255.255.255", "::ffff:9.255.255.255", "::ffff:11.0.0.0"],
  ["64:ff9b::127.0.0.0", "64:ff9b::7fff:ffff", "64:ff9b::8.8.8.8"],
  ["64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:8.8.8.8"],
  ["100::", "100::ffff:ffff:ffff:ffff"],
  ["1fff::", "1fff:ffff::"],
  ["2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2000:ffff::", "2001:200::"],
  ["2001:db8::", "2001:db8:ffff::", "2001:db7:ffff::", "2001:db9::"],
  ["2002::", "2002:ffff::", "2001:ffff::", "2003::"],
  ["3fff::", "3fff:fff:ffff::", "3ffe::", "3fff:1000::"],
  ["4000::", "5f00:ffff::"],
  ["fc00::", "fdff:ffff::"],
  ["fe80::", "febf:ffff::"],
  ["fec0::", "feff:ffff::"],
  ["ff00::", "ff0e::1"],
];

test("no IP of a special-purpose range is public, and the IPs beside it are", () => {
  for (const [first, last, ...beside] of ranges) {
    for (const ip of [first, last]) expect([ip, isPublicIp(ip)]).toEqual([ip, false]);
    for (const ip of beside) expect([ip, ip && isPublicIp(ip)]).toEqual([ip, true]);
  }
  for (const text of [
    "",
    "localhost",
    "2606:4700::1%eth0",
    "[2606:4700::1]",
    "8.8.8.8:53",
    "134744072",
  ])
    expect([text, isPublicIp(text)]).toEqual([text, false]);
});
