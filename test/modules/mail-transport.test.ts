import { expect, setSystemTime, spyOn, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { Resolver } from "node:dns";
import { dkimVerify } from "mailauth/lib/dkim/verify";
import { readConfig } from "../../src/config/config.ts";
import { answerLinkRequests } from "../../src/modules/emails/requests.ts";
import { deliverMails, listMails } from "../../src/modules/mail/mail.ts";
import { ada, closing, mailerFor, smtpWorld } from "../support/smtp-world.ts";

test("a mail is signed with DKIM, and marked so that no automatic reply is sent", async () => {
  const { ctx, server, enqueue } = await smtpWorld();
  const { privateKey, publicKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "der" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  const dkim = { domainName: "example.com", keySelector: "bunker", privateKey };
  const from = { name: 'Söhne, "Acme"', address: "no-reply@example.com" };
  const post = { ...(await mailerFor(server, ctx.mail, { dkim })), from };
  await enqueue({ to: { ...ada, locale: "de" } });
  await deliverMails({ ...ctx, mail: post });
  const [{ source } = { source: "" }] = server.received;
  expect(source).toMatch(/^Auto-Submitted: auto-generated$/im);
  const verdictOn = async (message: string) => {
    const asked: string[] = [];
    const resolver = async (name: string) => {
      asked.push(name);
      return [[`v=DKIM1; k=rsa; p=${publicKey.toString("base64")}`]];
    };
    const { results } = await dkimVerify(message, { resolver });
    return [asked, results.map(({ status }) => status.result)];
  };
  expect(await verdictOn(source)).toEqual([["bunker._domainkey.example.com"], ["pass"]]);
  const tampered = source.replace("reset-password", "reset-passw0rd");
  expect((await verdictOn(tampered))[1]).not.toEqual(["pass"]);
});

test.each([
  ["accounts.example.com", "accounts.example.com"],
  ["203.0.113.7", "[203.0.113.7]"],
  ["[2001:db8::7]", "[IPv6:2001:db8::7]"],
  ["[IPv6:2001:db8::7]", "[IPv6:2001:db8::7]"],
])("the EHLO name for the host %s is %s", async (ehlo, expected) => {
  const { ctx, server, enqueue } = await smtpWorld();
  await enqueue();
  await deliverMails({ ...ctx, mail: await mailerFor(server, ctx.mail, { ehlo }) });
  // The test server lowercases it.
  expect(server.received.map((one) => one.ehlo)).toEqual([expected.toLowerCase()]);
});

test("with smtps, TLS starts with the first byte", async () => {
  const { ctx, server, enqueue, states } = await smtpWorld("smtps");
  await enqueue();
  await deliverMails(ctx);
  expect([await states(), server.received.length]).toEqual([["sent"], 1]);
});

test("a mail server may delay its greeting for longer than a connection may take", async () => {
  const { ctx, server, enqueue, states } = await smtpWorld();
  server.greetAfter(5_500);
  await enqueue();
  await deliverMails(ctx);
  expect(await states()).toEqual(["sent"]);
});

test("a mail server in /etc/hosts is found without a name server", async () => {
  const { ctx, server, enqueue, states } = await smtpWorld();
  const queries = spyOn(Resolver.prototype, "resolve4");
  closing.push({ close: () => queries.mockRestore() });
  await enqueue();
  // Another spelling, because an earlier test may have cached `localhost`.
  await deliverMails({ ...ctx, mail: await mailerFor(server, ctx.mail, { host: "LocalHost" }) });
  expect([await states(), queries.mock.calls]).toEqual([["sent"], []]);
});

test("the EHLO name is a host name or an IP literal", () => {
  for (const MAIL_EHLO of ["mail.example.com", "[203.0.113.7]", "[IPv6:2001:db8::7]"])
    expect(readConfig({ MAIL_EHLO }).config.mailEhlo).toBe(MAIL_EHLO);
  for (const MAIL_EHLO of ["a b", "[300.0.0.1]", "mail.example.com\r\nRSET", "-a.example"])
    expect(() => readConfig({ MAIL_EHLO })).toThrow("MAIL_EHLO must be");
});

test("internationalized emails are supported, with domains in ASCII", async () => {
  const { ctx, server, enqueue, states } = await smtpWorld();
  for (const email of [
    "ada@b\u00fccher.example",
    "j\u00f6rg@example.com",
    "\u7528\u6237@example.com",
    // Users from before such domains were refused: the key is for example.com.
    "ada@\u24d4xample.com",
  ])
    await enqueue({ to: { ...ada, email } });
  await deliverMails(ctx);
  const written = server.received.map(({ source }) => /^To: (.+)$/m.exec(source)?.[1]?.trim());
  expect(written.sort()).toEqual([
    "ada@example.com",
    "ada@xn--bcher-kva.example",
    "j\u00f6rg@example.com",
    "\u7528\u6237@example.com",
  ]);
  expect(server.received.flatMap(({ to }) => to)).toContain("ada@example.com");
  expect(await states()).toEqual(["sent", "sent", "sent", "sent"]);
});

test("no email and no setting can inject a header or a recipient", async () => {
  const { ctx, server, newUser, anonymous } = await smtpWorld();
  await newUser();
  const evil = [
    "ada@example.com\r\nBcc: eve@example.com",
    "ada@example.com, eve@example.com",
    "Ada <ada@example.com>",
    '"Ada" <ada@example.com>',
    "ada@example.com>\r\nRCPT TO:<eve@example.com",
  ];
  for (const email of evil) {
    const body = { email, password: "correct horse battery staple" };
    expect([email, (await anonymous.post("/auth/register", body)).status]).toEqual([email, 422]);
    expect((await anonymous.post("/auth/password/forgot", { email })).status).toBe(202);
  }
  while ((await answerLinkRequests(ctx)) > 0);
  const written = await listMails(ctx);
  expect(written.map(({ kind, recipient }) => `${kind} ${recipient}`)).toEqual([
    "verify_email ada@example.com",
  ]);
  for (const MAIL_FROM of ["A\r\nBcc: eve@example.com <a@example.com>", "a@example.com\r\nX: y"])
    expect(() => readConfig({ MAIL_FROM })).toThrow("MAIL_FROM");
  expect(() => readConfig({ BRAND_NAME: "A\r\nBcc: eve@example.com" })).toThrow("BRAND_NAME");
  await deliverMails(ctx);
  expect(server.received.map(({ to }) => to)).toEqual([["ada@example.com"]]);
});

test("a mailbox that no longer exists makes a dead letter, and the next mail is sent", async () => {
  const { ctx, server, enqueue, states } = await smtpWorld();
  server.refuse(550);
  await enqueue();
  await deliverMails(ctx);
  server.refuse(undefined);
  await enqueue();
  await deliverMails(ctx);
  expect([await states(), server.received.length]).toEqual([["sent", "dead"], 1]);
});

test("a refused sender is our fault and not the mail's: mails wait, and the log says so once", async () => {
  const { ctx, server, enqueue, states, logged } = await smtpWorld();
  server.refuseSender(530);
  for (let at = 0; at < 3; at += 1) {
    await enqueue();
    await deliverMails(ctx);
  }
  expect([new Set(await states()), ctx.mail.isUnavailable]).toEqual([new Set(["waiting"]), true]);
  server.refuseSender(undefined);
  setSystemTime(Date.now() + 61_000);
  await deliverMails(ctx);
  expect([new Set(await states()), ctx.mail.isUnavailable]).toEqual([new Set(["sent"]), false]);
  expect(logged.map(({ sentence }) => sentence)).toEqual([
    "The mail server cannot be used; mails wait. See the cause with: bunker mail list",
    "The mail server is available again.",
  ]);
});

test("a mail whose link has expired is not sent", async () => {
  const { ctx, enqueue, server, states } = await smtpWorld();
  await enqueue({ goodUntil: new Date(Date.now() + 3_600_000).toISOString() });
  await enqueue();
  setSystemTime(Date.now() + 3_601_000);
  await deliverMails(ctx);
  expect([(await states()).sort(), server.received.length]).toEqual([["dead", "sent"], 1]);
});
