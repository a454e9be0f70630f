import { expect, test } from "bun:test";
import type { Config } from "../../src/config/config.ts";
import { withHost } from "../../src/http/host.ts";
import { metricsHandler } from "../../src/http/metrics.ts";
import { enqueueMail } from "../../src/modules/mail/mail.ts";
import { rawRequests } from "../support/raw.ts";
import { world } from "../support/world.ts";

/** How the mailbox responds to a client at `peer`. */
async function mailbox(settings: Partial<Config> = {}) {
  const here = await world({ environment: "development", ...settings });
  let peer = "127.0.0.1";
  here.app.server = { requestIP: () => ({ address: peer }) } as unknown as typeof here.app.server;
  const link = "https://accounts.example.com/reset-password?token=ot_<b>";
  const to = { id: null, email: "ada@example.com", locale: null };
  const id = await enqueueMail(here.ctx, { kind: "reset_password", to, link });
  const open = (path = "", from = "127.0.0.1", headers: Record<string, string> = {}) => {
    peer = from;
    return here.send("GET", `/dev/mailbox${path}`, {
      headers: { host: "localhost:3000", ...headers },
    });
  };
  return { ...here, id, open };
}

test("a developer reads mails: the list, the text with working links, the HTML, the source", async () => {
  const { id, open } = await mailbox();
  expect((await open()).body).toContain(`/dev/mailbox/${id}`);
  const { body } = await open(`/${id}`);
  expect(body).toContain('<a href="https://accounts.example.com');
  expect(body).not.toContain("<b>");
  const html = await open(`/${id}/html`);
  expect(html.headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(html.body).toContain("Reset your password");
  expect((await open(`/${id}/source`)).body).toContain("To: ada@example.com");
  for (const path of ["/nonsense", `/${crypto.randomUUID()}`])
    expect((await open(path)).status).toBe(404);
});

test("a test suite reads mails as JSON: newest first, by recipient, with links and codes as fields", async () => {
  const { ctx, id, open, pass } = await mailbox();
  const { body } = await open(".json");
  expect(body).toEqual([
    {
      id,
      kind: "reset_password",
      to: "ada@example.com",
      subject: "Reset your password",
      link: "https://accounts.example.com/reset-password?token=ot_<b>",
      token: "ot_<b>",
      code: null,
      text: expect.stringContaining("https://accounts.example.com/reset-password?token=ot_"),
      state: "waiting",
      created_at: expect.stringMatching(/Z$/),
    },
  ]);
  const to = { id: null, email: "Eve+tag@Example.com", locale: null };
  pass(1000);
  await enqueueMail(ctx, {
    kind: "sign_in",
    to,
    link: "http://localhost/x?token=a",
    code: "123456",
  });
  pass(1000);
  await enqueueMail(ctx, { kind: "password_changed", to, isFromKnownDevice: true });
  const eves = (await open(".json?to=eve%2Btag@example.com")).body;
  expect(eves.map(({ kind, code, token }: Record<string, string>) => [kind, code, token])).toEqual([
    ["password_changed", null, null],
    ["sign_in", "123456", "a"],
  ]);
  expect((await open(".json")).body.length).toBe(3);
  expect((await open(".json?to=nobody")).body).toEqual([]);
  expect((await open(".json?too=nobody")).body.errors).toMatchObject([{ pointer: "/query" }]);
});

test("nobody else can read it: not from another machine, not through a proxy, not in production", async () => {
  const { id, open } = await mailbox({ clientAddressHeader: "fly-client-ip" });
  for (const path of [".json", ".json?x=y", "", `/${id}`, `/${id}/html`, `/${id}/source`]) {
    for (const peer of ["192.168.1.5", "203.0.113.7", "::ffff:10.0.0.1"])
      expect([path, peer, (await open(path, peer)).status]).toEqual([path, peer, 404]);
    for (const header of [
      "x-forwarded-for",
      "forwarded",
      "x-real-ip",
      "via",
      "x-forwarded-proto",
      "x-forwarded-host",
      "fly-client-ip",
    ])
      expect([header, (await open(path, "127.0.0.1", { [header]: "203.0.113.7" })).status]).toEqual(
        [header, 404],
      );
  }
  const { open: inProduction } = await mailbox({ environment: "production" });
  expect((await inProduction()).status).toBe(404);
});

const LOCAL_HOSTS = [
  "localhost",
  "localhost:3000",
  "LOCALHOST:1",
  "bunker.localhost",
  "a.b-c.localhost:8080",
  "127.0.0.1",
  "127.0.0.1:3000",
  "127.8.9.10",
  "[::1]",
  "[::1]:3000",
];
/** Names that another person can resolve to this machine, and names that only look local. */
const OTHER_HOSTS = [
  "evil.example",
  "evil.example:3000",
  "127.0.0.1.evil.example",
  "localhost.evil.example",
  "localhost.",
  "evil-localhost",
  "xlocalhost",
  "1127.0.0.1",
  "128.0.0.1",
  "[::2]",
  "0.0.0.0",
  "192.168.1.5",
];
const MALFORMED_HOSTS = [
  "evil.example#.localhost",
  "localhost@evil.example",
  "localhost/evil.example",
  "127.0.0.1@evil.example",
  "localhost, evil.example",
  "localhost:x",
  "",
];

test("a page of another site that resolves its name to this machine reads nothing (DNS rebinding)", async () => {
  const { id, open } = await mailbox({ publicUrl: "http://Bunker.test:3000" });
  for (const path of [".json", "", `/${id}`, `/${id}/html`, `/${id}/source`]) {
    for (const host of [...LOCAL_HOSTS, "bunker.test", "BUNKER.test:3000"])
      expect([host, (await open(path, "127.0.0.1", { host })).status]).toEqual([host, 200]);
    for (const host of [...OTHER_HOSTS, "bunker.test.evil.example", "x.bunker.test"])
      expect([host, (await open(path, "127.0.0.1", { host })).status]).toEqual([host, 404]);
    for (const host of MALFORMED_HOSTS)
      expect([host, (await open(path, "127.0.0.1", { host })).status]).toEqual([host, 400]);
  }
});

test("neither an absolute URL, nor a second Host, nor a missing Host opens it", async () => {
  const { app } = await mailbox();
  const { raw, close } = rawRequests(
    withHost(app.fetch, () => app.server),
    (server) => {
      app.server = server;
    },
  );
  const get = async (...head: string[]) =>
    (await raw([...head, "Connection: close", "", ""].join("\r\n"))).split("\r\n")[0];
  const found = "HTTP/1.1 200 OK";
  const missing = "HTTP/1.1 404 Not Found";
  expect(await get("GET /dev/mailbox HTTP/1.1", "Host: localhost")).toBe(found);
  expect(await get("GET /dev/mailbox HTTP/1.1", "Host: evil.example")).toBe(missing);
  expect(await get("GET http://localhost/dev/mailbox HTTP/1.1", "Host: evil.example")).toBe(
    missing,
  );
  expect(await get("GET /dev/mailbox HTTP/1.0")).toBe(missing);
  for (const hosts of [
    ["localhost", "evil.example"],
    ["evil.example", "localhost"],
  ])
    expect(
      await get("GET /dev/mailbox HTTP/1.1", ...hosts.map((host) => `Host: ${host}`)),
    ).not.toBe(found);
  await close();
});

test("metrics on a loopback IP are served for local host names only", async () => {
  const { ctx } = await mailbox();
  const statusOf = async (host: string, metricsHost: string) => {
    const config = { ...ctx.config, metricsHost };
    const request = new Request("http://localhost/metrics", { headers: { host } });
    return (await metricsHandler({ ...ctx, config })(request)).status;
  };
  for (const metricsHost of ["127.0.0.1", "localhost", "::1"]) {
    for (const host of LOCAL_HOSTS) expect(await statusOf(host, metricsHost)).toBe(200);
    for (const host of OTHER_HOSTS)
      expect([host, await statusOf(host, metricsHost)]).toEqual([host, 403]);
    for (const host of MALFORMED_HOSTS)
      expect([host, await statusOf(host, metricsHost)]).toEqual([host, 400]);
  }
  // On other IPs, other machines use whatever name they know.
  expect(await statusOf("bunker:9464", "0.0.0.0")).toBe(200);
});
