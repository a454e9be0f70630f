/**
 * `bun docs/terminal.ts` runs the commands of the README with the compiled binary, and draws the
 * terminal to `docs/terminal.svg`. Shortens tokens.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { escaped } from "../src/kit/html.ts";

const binary = join(import.meta.dir, "../dist/bunker");
const PORT = "3000";
const API = `http://localhost:${PORT}/api/v1`;
const COLUMNS = 100;
const [LETTER_WIDTH, LINE_HEIGHT, MARGIN] = [8.4, 20, 20];

const commands = [
  `curl -s ${API}/auth/register --json '{"email":"ada@example.com","password":"a long pass phrase"}'`,
  `curl -s ${API}/auth/login -d username=ada -d 'password=a long pass phrase'`,
  `curl -s ${API}/users/me -H "authorization: Bearer $TOKEN"`,
];

async function run(command: string, token: string): Promise<string> {
  const env = { ...process.env, TOKEN: token };
  return new Response(Bun.spawn(["sh", "-c", command], { env }).stdout).text();
}

const shortened = (text: string) => text.replaceAll(/(eyJ|rt_)[\w.-]{12,}/g, "$1…");
const wrapped = (text: string) => text.match(new RegExp(`.{1,${COLUMNS}}`, "g")) ?? [];

async function record(): Promise<string[]> {
  const cwd = mkdtempSync(join(tmpdir(), "bunker-terminal-"));
  const env = { ...process.env, PORT, BUNKER_ENV: "development", LOG_LEVEL: "silent" };
  const server = Bun.spawn([binary], { cwd, env, stdout: "pipe", stderr: "ignore" });
  try {
    let banner = "";
    for await (const chunk of server.stdout) {
      banner += new TextDecoder().decode(chunk);
      if (banner.includes("Try ")) break;
    }
    const shown = banner.replaceAll(binary, "./bunker").replaceAll(cwd, ".").split("\n");
    const lines = [
      "$ ./bunker &",
      ...shown.filter((line) => line !== "" && !line.includes("Try ")),
    ];
    let token = "";
    for (const command of commands) {
      const answer = await run(command, token);
      token = /"access_token":"([^"]+)"/.exec(answer)?.[1] ?? token;
      const typed = command.replaceAll(API, "$API").replace("curl -s", "curl");
      lines.push("", ...wrapped(`$ ${typed}`), ...wrapped(shortened(answer)));
    }
    return lines;
  } finally {
    server.kill();
    await server.exited;
    rmSync(cwd, { recursive: true, force: true });
  }
}

function draw(lines: string[]): string {
  const [width, height] = [
    COLUMNS * LETTER_WIDTH + 2 * MARGIN,
    lines.length * LINE_HEIGHT + 2 * MARGIN,
  ];
  const rows = lines.map((line, at) => {
    const color = line.startsWith("$ ") ? "#7ee787" : "#e6edf3";
    const y = MARGIN + (at + 1) * LINE_HEIGHT - 5;
    return `<text x="${MARGIN}" y="${y}" fill="${color}" xml:space="preserve">${escaped(line)}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" font-family="ui-monospace,Menlo,Consolas,monospace" font-size="14">`,
    `<rect width="100%" height="100%" rx="8" fill="#0d1117"/>`,
    ...rows,
    "</svg>\n",
  ].join("\n");
}

await Bun.write(join(import.meta.dir, "terminal.svg"), draw(await record()));
