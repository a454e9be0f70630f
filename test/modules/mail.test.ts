import { expect, setSystemTime, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Mailer } from "../../src/kit/mail.ts";
import { deliverMails, listMails, purgeMails, retryMails } from "../../src/modules/mail/mail.ts";
import { faultsIn, mailKinds, openRenderer } from "../../src/modules/mail/render.ts";
import { reportWaitingMails } from "../../src/modules/mail/waiting.ts";
import { mailServer } from "../support/smtp.ts";
import { ada, closing, LINK, mailerFor, smtpWorld } from "../support/smtp-world.ts";

test("a mail is sent with STARTTLS and a password, in the recipient's language; its content is then deleted", async () => {
  const { ctx, server, enqueue, states, sql } = await smtpWorld();
  const id = await enqueue();
  await enqueue({ to: { id: null, email: "bert@example.com", locale: "de-AT" } });
  await enqueue({ to: { id: null, email: "carla@example.com", locale: "pt-BR" } });
  const kept = JSON.stringify(await sql`select encode(sealed, 'escape') from mails`);
  expect(kept).not.toContain("ot_secret");
  expect(await deliverMails(ctx)).toBe(3);
  expect(await deliverMails(ctx)).toBe(0);
  const sources = new Map(server.received.map(({ to, source }) => [to[0], source]));
  expect(sources.get("ada@example.com")).toContain(`Message-ID: <${id}@localhost>`);
  expect(sources.get("ada@example.com")).toContain("Subject: Reset your password");
  expect(sources.get("ada@example.com")).toContain(`From: Bunker <no-reply@localhost>`);
  expect(sources.get("bert@example.com")).toMatch(
    /Subject: =\?UTF-8\?Q\?Passwort_zur=C3=BCcksetzen/,
  );
  expect(sources.get("carla@example.com")).toContain("Subject: Reset your password");
  expect(await states()).toEqual(["sent", "sent", "sent"]);
  expect(await sql`select 1 from mails where sealed is not null`).toHaveLength(0);
});

test("while the server is unavailable mails wait, and each is sent once when it is back, by one of several instances", async () => {
  const { ctx, server, enqueue, states, sql } = await smtpWorld();
  const { port } = server;
  await server.close();
  for (let n = 0; n < 30; n += 1) await enqueue({ to: { ...ada, email: `p${n}@example.com` } });
  expect(await deliverMails(ctx)).toBe(0);
  expect(new Set(await states())).toEqual(new Set(["waiting"]));
  // However long it is unavailable.
  await sql`update mails set tries = 40, due_at = now()`;
  await deliverMails(ctx);
  const back = await mailServer({ port });
  closing.push(back);
  const post = await mailerFor(back, ctx.mail);
  setSystemTime(Date.now() + 61_000);
  const instances = [1, 2, 3, 4].map(() => ({ ...ctx, mail: post }));
  for (let turn = 0; turn < 3; turn += 1) await Promise.all(instances.map(deliverMails));
  expect(back.received.map(({ to }) => to[0]).sort()).toEqual(
    Array.from({ length: 30 }, (_, n) => `p${n}@example.com`).sort(),
  );
  expect(new Set(await states())).toEqual(new Set(["sent"]));
});

test("a mail that the server rejects is dead, with its reply, until an operator retries it", async () => {
  const { ctx, server, enqueue, states, logged } = await smtpWorld();
  const id = await enqueue();
  server.refuse(550);
  await deliverMails(ctx);
  const [dead] = await listMails(ctx);
  expect([dead?.state, dead?.answer]).toEqual(["dead", expect.stringContaining("550")]);
  expect(JSON.stringify([dead?.answer, logged])).not.toContain("ada@example.com");
  server.refuse(undefined);
  expect(await deliverMails(ctx)).toBe(0);
  expect(await retryMails(ctx, id)).toBe(1);
  expect(await deliverMails(ctx)).toBe(1);
  expect(await states()).toEqual(["sent"]);
  expect(retryMails(ctx, id)).rejects.toMatchObject({ code: "not_found" });
});

test("a mail that the server defers is retried with backoff, and finally given up", async () => {
  const { ctx, server, enqueue, sql, states } = await smtpWorld();
  await enqueue();
  server.refuse(451);
  for (const seconds of [2, 4, 8]) {
    await deliverMails(ctx);
    const [{ wait } = { wait: 0 }] =
      await sql`select round(extract(epoch from due_at - ${new Date().toISOString()}::timestamptz))::int as wait from mails`;
    expect(wait).toBe(seconds);
    expect(await deliverMails(ctx)).toBe(0);
    setSystemTime(Date.now() + seconds * 1_000 + 500);
  }
  setSystemTime(Date.now() + 3 * 86_400_000);
  await deliverMails(ctx);
  expect(await states()).toEqual(["dead"]);
});

test("if a process dies between sending and recording, another one sends again with the same Message-ID", async () => {
  const { ctx, server, enqueue } = await smtpWorld();
  const id = await enqueue();
  const dying = {
    ...ctx.mail,
    send: async (mail: Parameters<Mailer["send"]>[0]) => {
      await ctx.mail.send(mail);
      throw new Error("killed");
    },
  };
  expect(deliverMails({ ...ctx, mail: dying })).rejects.toThrow("killed");
  await Bun.sleep(100);
  expect(await deliverMails(ctx)).toBe(0);
  setSystemTime(Date.now() + 121_000);
  expect(await deliverMails(ctx)).toBe(1);
  expect(server.received.map(({ source }) => source.includes(`<${id}@localhost>`))).toEqual([
    true,
    true,
  ]);
});

test.each(["smtp", "smtps"] as const)(
  "over %s, a server with a wrong certificate, or that refuses the password, gets no mail, and mails wait",
  async (scheme) => {
    const { ctx, server, enqueue, states } = await smtpWorld(scheme);
    await enqueue();
    const other = await mailServer();
    closing.push(other);
    for (const mail of [
      await mailerFor({ ...server, caFile: other.caFile }, ctx.mail),
      await mailerFor(server, ctx.mail, { secret: "wrong" }),
    ]) {
      await deliverMails({ ...ctx, mail });
      setSystemTime(Date.now() + 60_000);
    }
    expect([server.received, await states()]).toEqual([[], ["waiting"]]);
  },
);

test("every language has every text, and a folder can override them", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bunker-words-"));
  closing.push({ close: () => rmSync(folder, { recursive: true }) });
  writeFileSync(join(folder, "fr.json"), '{"test":{"subject":"Un courriel de {brand}"}}');
  writeFileSync(join(folder, "frame.html"), "<p>{subject}</p>{content}");
  const brand = { name: "Cats & <Dogs>", color: "#123456", logo: undefined };
  const [plain, themed] = [undefined, folder].map((where) => openRenderer(brand, where));
  for (const locale of ["en", "de", "fr", "xx", null])
    for (const kind of mailKinds)
      for (const render of [plain, themed]) {
        const { subject, text, html } = render?.(kind, locale, { link: LINK }) ?? {};
        expect(`${subject}${text}${html}`).not.toMatch(/undefined|\{[a-z]+\}/);
        expect(html).not.toContain("<Dogs>");
      }
  const german = plain?.("test", "de-AT", {});
  expect(german?.subject).toBe("Test-E-Mail von Cats & <Dogs>");
  const french = themed?.("test", "fr-CA", { link: LINK });
  expect([french?.subject, french?.html]).toEqual([
    "Un courriel de Cats & <Dogs>",
    expect.stringMatching(/^<p>Un courriel de Cats &#38; &#60;Dogs&#62;<\/p>/),
  ]);
  expect(Object.keys(german ?? {})).toEqual(["subject", "text", "html"]);
});

test("faults in a folder of texts are found before a mail needs it", () => {
  const folder = mkdtempSync(join(tmpdir(), "bunker-words-"));
  closing.push({ close: () => rmSync(folder, { recursive: true }) });
  expect(faultsIn(folder)).toEqual([]);
  // With a byte order mark, as editors on Windows write it.
  writeFileSync(join(folder, "es.json"), '\uFEFF{"test":{"subject":"Hola"}}');
  expect(faultsIn(folder)).toEqual([]);
  writeFileSync(join(folder, "de.json"), "{ broken");
  writeFileSync(join(folder, "en.json"), '{"tset":{},"test":{"lines":"text","subjekt":"x"}}');
  writeFileSync(join(folder, "frame.html"), "<p>{subject}</p>");
  writeFileSync(join(folder, "fr.json"), "null");
  writeFileSync(join(folder, "it.json"), '{"test":null}');
  expect(faultsIn(folder).sort()).toEqual([
    "de.json is not JSON",
    'en.json has "tset", which is not a kind of mail',
    'en.json: "test.lines" does not exist in en.json, or has another type there',
    'en.json: "test.subjekt" does not exist in en.json, or has another type there',
    "fr.json is not an object",
    "frame.html has no {content}",
    'it.json has "test", which is not a kind of mail',
  ]);
});

test("sent mails are kept for a month, those about no user for a week", async () => {
  const { ctx, enqueue } = await smtpWorld();
  await enqueue({ to: { ...ada, id: Bun.randomUUIDv7() } });
  await enqueue({ to: { ...ada, id: null } });
  await deliverMails(ctx);
  setSystemTime(Date.now() + 6 * 86_400_000);
  expect(await purgeMails(ctx)).toBe(0);
  setSystemTime(Date.now() + 2 * 86_400_000);
  expect(await purgeMails(ctx)).toBe(1);
  setSystemTime(Date.now() + 21 * 86_400_000);
  expect(await purgeMails(ctx)).toBe(0);
  setSystemTime(Date.now() + 2 * 86_400_000);
  expect(await purgeMails(ctx)).toBe(1);
});

test("without a mail server the log says once for each kind that mails wait", async () => {
  const { ctx, enqueue } = await smtpWorld();
  const lines: unknown[] = [];
  const log = { ...ctx.log, warn: (fields: object) => void lines.push(fields) };
  const reported = new Set<string>();
  const report = async () => {
    while ((await reportWaitingMails({ ...ctx, log, mail: undefined }, reported)) > 0);
  };
  await report();
  await enqueue();
  await enqueue();
  await report();
  await enqueue();
  await enqueue({ kind: "verify_email" });
  await report();
  expect(lines).toEqual([{ kind: "reset_password" }, { kind: "verify_email" }]);
  expect(await reportWaitingMails({ ...ctx, log }, new Set())).toBe(0);
});
