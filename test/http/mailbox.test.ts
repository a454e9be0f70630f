import { expect, test } from "bun:test";
import { enqueueMail } from "../../src/modules/mail/mail.ts";
import { world } from "../support/world.ts";

/** What the mailbox answers to somebody at `peer`. */
async function mailbox(environment: "development" | "production" = "development") {
  const here = await world({ environment });
  let peer = "127.0.0.1";
  here.app.server = { requestIP: () => ({ address: peer }) } as unknown as typeof here.app.server;
  const link = "https://accounts.example.com/reset-password?token=ot_<b>";
  const to = { email: "ada@example.com", locale: null };
  const id = await enqueueMail(here.ctx, { kind: "reset_password", to, link });
  const open = (path = "", from = "127.0.0.1", headers: Record<string, string> = {}) => {
    peer = from;
    return here.send("GET", `/dev/mailbox${path}`, { headers });
  };
  return { id, open };
}

test("a developer reads mails: the list, the text with links that work, the HTML, the source", async () => {
  const { id, open } = await mailbox();
  expect((await open()).body).toContain(`/dev/mailbox/${id}`);
  const { body } = await open(`/${id}`);
  expect(body).toContain('<a href="https://accounts.example.com');
  expect(body).not.toContain("<b>");
  const html = await open(`/${id}/html`);
  expect(html.headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(html.body).toContain("Choose a new password");
  expect((await open(`/${id}/source`)).body).toContain("To: ada@example.com");
  for (const path of ["/nonsense", `/${crypto.randomUUID()}`])
    expect((await open(path)).status).toBe(404);
});

test("nobody else does: not from elsewhere, not through a proxy, not in production", async () => {
  const { id, open } = await mailbox();
  for (const path of ["", `/${id}`, `/${id}/html`, `/${id}/source`]) {
    for (const peer of ["192.168.1.5", "203.0.113.7", "::ffff:10.0.0.1"])
      expect([path, peer, (await open(path, peer)).status]).toEqual([path, peer, 404]);
    for (const header of ["x-forwarded-for", "forwarded", "x-real-ip", "via"])
      expect((await open(path, "127.0.0.1", { [header]: "203.0.113.7" })).status).toBe(404);
  }
  const { open: inProduction } = await mailbox("production");
  expect((await inProduction()).status).toBe(404);
});
