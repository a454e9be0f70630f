/**
 * Carries out each guide in an empty folder, with the compiled binary, and compares what it shows.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { brokers, hasRabbitMq } from "../support/brokers.ts";
import { type Block, blocksOf, guidePages, isAsShown, stepsOf } from "../support/guide.ts";
import { type GuideShell, openGuideShell } from "../support/guide-shell.ts";
import { needs } from "../support/needs.ts";

setDefaultTimeout(300_000);
const root = join(import.meta.dir, "../..");

/** Where Debian keeps libraries of Go. */
const DEBIAN_GO = "/usr/share/gocode";
const isInstalled: Record<string, () => boolean> = {
  postgres: () => process.env["E2E_DATABASE_URL"] !== undefined && Bun.which("psql") !== null,
  "python3-jwt": () =>
    existsSync("/usr/bin/python3") &&
    Bun.spawnSync(["/usr/bin/python3", "-c", "import jwt, cryptography, fastapi, uvicorn"])
      .exitCode === 0,
  "rabbitmq-server": () => hasRabbitMq,
  golang: () =>
    Bun.which("go") !== null && existsSync(`${DEBIAN_GO}/src/github.com/golang-jwt/jwt`),
};

async function carryOut(shell: GuideShell, block: Block): Promise<void> {
  if (block.file) shell.write(block.file, block.text);
  if (block.language === "ini") await checkSettings(shell, block.text);
  if (block.action === "background") await shell.background(block.text, block.ready ?? "");
  else if (block.action === "serve") {
    const [{ command, expected } = { command: "", expected: "" }] = stepsOf(block.text);
    const output = await shell.serve(command);
    if (expected !== "") compare(shell.localized(expected), output);
  } else if (block.action === "run" && block.language === "console") {
    for (const { command, expected } of stepsOf(block.text)) {
      const { output } = await shell.run(command);
      compare(shell.localized(expected), output);
    }
  } else if (block.action === "run") {
    const { code, output } = await shell.run(block.text);
    expect({ code, output: code === 0 ? "" : output }).toEqual({ code: 0, output: "" });
  }
}

/**
 * What a page expects that has the comment `after: sign-in`: the first steps of getting-started.md.
 */
async function signIn(shell: GuideShell): Promise<void> {
  await shell.serve("BUNKER_ENV=development ./bunker");
  for (const command of [
    "API=http://localhost:3000/api/v1",
    `curl $API/auth/register --json '{"email":"ada@example.com","password":"a long pass phrase"}'`,
    "curl $API/auth/login -d username=ada -d 'password=a long pass phrase' > tokens.json",
    `TOKEN=$(grep -o '"access_token":"[^"]*' tokens.json | cut -d '"' -f 4)`,
    `REFRESH=$(grep -o '"refresh_token":"[^"]*' tokens.json | cut -d '"' -f 4)`,
  ])
    await shell.run(command);
}

async function checkSettings(shell: GuideShell, text: string): Promise<void> {
  shell.write("settings.env", text);
  const config = "BUNKER_ENV=development ./bunker --env-file settings.env config";
  const { code, output } = await shell.run(`${config} 2>&1 >/dev/null`);
  expect({ code, output }).toEqual({ code: 0, output: "" });
}

/** The same text on both sides would say nothing about what differs. */
function compare(shown: string, real: string): void {
  if (!isAsShown(shown, real)) expect(real).toBe(shown);
}

const guides = guidePages();
for (const path of guides) {
  const blocks = blocksOf(path);
  if (!blocks.some(({ action }) => action !== "none")) continue;
  const wanted = blocks.flatMap((block) => block.needs ?? []);
  const missing = wanted.find(
    (program) => !(isInstalled[program]?.() ?? Bun.which(program) !== null),
  );
  needs(missing ?? "", missing === undefined).test(`${path} is as it says`, async () => {
    const queue = brokers.find(({ program }) => wanted.includes(program));
    const server = await queue?.open();
    const replaced = server
      ? { [`127.0.0.1:${queue?.usualPort}`]: `127.0.0.1:${server.port}` }
      : undefined;
    const shell = await openGuideShell(replaced);
    try {
      if (readFileSync(join(root, path), "utf8").includes("<!-- after: sign-in -->"))
        await signIn(shell);
      for (const block of blocks)
        await carryOut(shell, block).catch((error) => {
          throw new Error(`${path}:${block.line}: ${error.message}`);
        });
    } finally {
      await shell.close();
      await server?.kill();
    }
  });
}

test("how many blocks are run", () => {
  const all = guides.flatMap(blocksOf);
  const run = all.filter(({ action, file }) => action !== "none" || file !== undefined);
  const notRun = all.flatMap(({ notRunReason }) => notRunReason ?? []);
  console.log(`Code blocks of the guides: ${run.length} run, ${notRun.length} not run:`);
  for (const reason of new Set(notRun)) console.log(`- ${reason}`);
  expect(run.length).toBeGreaterThan(50);
});
