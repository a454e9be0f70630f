import { expect, test } from "bun:test";
import { Glob } from "bun";
import texts from "../src/modules/mail/texts/en.json" with { type: "json" };
import { blocksOf, guidePages } from "./support/guide.ts";

test("each command in a guide is run by a test, or the guide says why not", () => {
  const commands = guidePages().flatMap((path) =>
    blocksOf(path)
      .filter(({ language }) => language === "sh" || language === "console")
      .map((block) => ({ ...block, at: `${path}:${block.line}` })),
  );
  expect(commands.length).toBeGreaterThan(80);
  const unmarked = commands.filter(
    ({ action, notRunReason }) => action === "none" && notRunReason === undefined,
  );
  expect(unmarked.map(({ at }) => at)).toEqual([]);
});

test("the messages in Troubleshoot are those of the program", async () => {
  let source = "";
  for (const path of new Glob("src/**/*.ts").scanSync()) source += await Bun.file(path).text();
  const page = await Bun.file("docs/guides/troubleshoot.md").text();
  const rows = ["Bunker does not start", "Log messages"].flatMap((heading) => {
    const [, section = ""] = page.split(`## ${heading}\n`);
    return [...(section.split("\n## ")[0] ?? "").matchAll(/^\| (.*?) \|/gm)];
  });
  const messages = rows.flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, text = ""]) => text),
  );
  expect(messages.length).toBeGreaterThan(20);
  // The code of the operating system.
  const ours = messages.filter((text) => text !== "EADDRINUSE");
  expect(ours.filter((text) => !source.includes(text))).toEqual([]);
});

test("each kind of mail is in the list of mails", async () => {
  const page = await Bun.file("docs/mails.md").text();
  const kinds = Object.keys(texts);
  expect(kinds.length).toBeGreaterThan(10);
  expect(kinds.filter((kind) => !page.includes(`\`${kind}\``))).toEqual([]);
});
