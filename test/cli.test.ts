import { expect, test } from "bun:test";
import { openSync } from "node:fs";
import { isatty } from "node:tty";
import { parseEnvFile } from "../src/cli/env-file.ts";
import { hasColor } from "../src/terminal.ts";

test("an env file is read as systemd reads it", () => {
  const text = String.raw`# a comment \
that goes on
; another one
PLAIN=value  
SPACED = a b\ 
QUOTED="a \"b\" \n c"  
SINGLE='a\b
c'
JOINED="a"'b'c
HASH=pass#word # no comment
APOSTROPHE=it's
CONTINUED=a\
b
ESCAPED=a\\b\$c
EMPTY=
export SHELL_NAME=x`;
  const expected = {
    PLAIN: "value",
    SPACED: "a b ",
    QUOTED: String.raw`a "b" \n c`,
    SINGLE: "a\\b\nc",
    JOINED: "abc",
    HASH: "pass#word # no comment",
    APOSTROPHE: "it's",
    CONTINUED: "ab",
    ESCAPED: "a\\b$c",
    SHELL_NAME: "x",
  };
  expect(parseEnvFile(text)).toEqual(expected);
  expect(parseEnvFile(text.replaceAll("\n", "\r\n"))).toEqual(expected);
  expect(parseEnvFile("")).toEqual({});
  expect(parseEnvFile("# nothing")).toEqual({});
  expect(() => parseEnvFile("A=1\n\nsecret word\n")).toThrow(/^has no NAME=value in line 3$/);
  expect(() => parseEnvFile("A='1\n")).toThrow(/^has a quote that is not closed in line 1$/);
});

test("colors depend on the terminal, unless the environment decides", () => {
  const nowhere = openSync("/dev/null", "w");
  expect(hasColor(nowhere, {})).toBe(false);
  expect(hasColor(nowhere, { FORCE_COLOR: "1", NO_COLOR: "1", TERM: "dumb" })).toBe(true);
  const terminal = openSync("/dev/ptmx", "r+");
  expect(isatty(terminal)).toBe(true);
  expect(hasColor(terminal, { NO_COLOR: "" })).toBe(true);
  for (const env of [{ NO_COLOR: "1" }, { TERM: "dumb" }, { FORCE_COLOR: "0" }])
    expect([env, hasColor(terminal, env)]).toEqual([env, false]);
});
