import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, emptyFolder, isBinary, linesOf } from "../support/program.ts";

setDefaultTimeout(60_000);

describe("a command in another folder", () => {
  const isEmpty = (folder: string) => readdirSync(folder).length === 0;

  test("creates no database, and names the folder where it looked", async () => {
    const cwd = emptyFolder();
    for (const args of [
      ["users", "promote", "ada@example.com"],
      ["users", "list", "--json"],
      ["migrate", "status"],
      ["keys", "rotate"],
      ["clients", "create", "x"],
      ["mail", "list"],
    ]) {
      const { code, err, out } = await command(args, { cwd });
      expect([args, code, out]).toEqual([args, 66, ""]);
      for (const words of [`${cwd}/data`, "DATA_DIR", "DATABASE_URL", "--env-file"])
        expect(err).toContain(words);
      expect([args, isEmpty(cwd)]).toEqual([args, true]);
    }
    const DATA_DIR = join(cwd, "file");
    writeFileSync(DATA_DIR, "");
    expect((await command(["users", "list"], { env: { DATA_DIR } })).code).toBe(66);
  });

  test("reads settings from a file; the environment has precedence", async () => {
    const cwd = emptyFolder();
    const file = join(cwd, "bunker.env");
    writeFileSync(file, '\uFEFF# Ours\r\nPORT="4000"\r\nBRAND_NAME=Ada\\\'s #1 \r\nLOG_LEVEL=\r\n');
    const values = async (args: string[], env = {}) => {
      const { out } = await command(args, { cwd, env });
      const rows: { name: string; value: unknown }[] = JSON.parse(out);
      return ["PORT", "BRAND_NAME", "LOG_LEVEL"].map(
        (name) => rows.find((row) => row.name === name)?.value,
      );
    };
    const ours = [4000, "Ada's #1", "info"];
    expect(await values(["--env-file", file, "config", "--json"])).toEqual(ours);
    expect(await values(["config", "--json", `--env-file=${file}`])).toEqual(ours);
    expect(await values(["config", "--json", `--env-file=${file}`], { PORT: "5000" })).toEqual([
      5000,
      ...ours.slice(1),
    ]);
    writeFileSync(file, "PORT=4000\nsentinel\n");
    const { code, err } = await command(["--env-file", file, "config"]);
    expect([code, err]).toEqual([78, expect.stringContaining("has no NAME=value in line 2")]);
    expect(err).not.toContain("sentinel");
    expect((await command(["--env-file", "/none", "config"])).err).toContain("ENOENT");
  });

  test.if(isBinary)("logs once that it does not read .env", async () => {
    const cwd = emptyFolder();
    writeFileSync(join(cwd, ".env"), "PORT=4000\n");
    const { out, err } = await command(["config"], { cwd });
    expect(out).toMatch(/PORT +3000/);
    expect(linesOf(err)).toMatchObject([{ msg: expect.stringContaining("--env-file .env") }]);
    expect((await command(["--env-file", ".env", "config"], { cwd })).err).toBe("");
    expect((await command(["version"], { cwd })).err).toBe("");
  });
});

test("config shows every setting and its origin, and no secret", async () => {
  const secret = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
  const env = {
    SECRET_KEY: secret,
    PORT: "4000",
    DATABASE_URL: "postgres://u:sentinel@localhost/x",
    BUNKER_ENV: "development",
    SECRET_KEYY: "x",
  };
  const { code, out, err } = await command(["config"], { env });
  expect(code).toBe(0);
  expect(out).toMatch(/SECRET_KEY +\*{8} {2}\[SECRET_KEY\]/);
  expect(out).toMatch(/PORT +4000 {2}\[PORT\]/);
  expect(out).toMatch(/REGISTRATION +open {2}\[default\]/);
  expect(out).toMatch(/PUBLIC_URL +http:\/\/localhost:4000 {2}\[default\]/);
  expect(out).toMatch(/AUDIENCE +http:\/\/localhost:4000 {2}\[default\]/);
  expect(out).toMatch(/MAIL_FROM +Bunker <no-reply@localhost> {2}\[default\]/);
  expect(out).toMatch(/PASSWORD_HASH +m=19456,t=2 {2}/);
  expect(out).toMatch(/METRICS_PORT +\(unset\) {2}/);
  expect(out).not.toContain("[object");
  expect(linesOf(err)).toMatchObject([
    { level: "warn", msg: "SECRET_KEYY is not a setting: did you mean SECRET_KEY?" },
  ]);
  expect(out).not.toContain("sentinel");
  expect(out).not.toContain(secret);
  const rows = JSON.parse((await command(["config", "--json"], { env })).out);
  expect(rows).toContainEqual({ name: "PORT", value: 4000, origin: "PORT" });
});
