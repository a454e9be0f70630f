/**
 * Reads the code blocks of a guide. The info string of a block says what a test does with it.
 * GitHub shows its first word only.  - `sh run`: runs the script; it must succeed. - `console run`:
 * runs each `$ ` command, and compares what it prints. - `console serve`: starts a server, compares
 * what it prints, and lets it run. A server that an   earlier block started is stopped first. - `sh
 * background ready=URL`: starts a program, and waits until the URL answers. - `ini`: settings;
 * `bunker config` must accept them. - `… file=PATH`: writes the block to this file, for later
 * blocks. - `… not run: REASON`: cannot run on a machine of ours. - `… needs=PROGRAM`: skips the
 * guide if the program is missing.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");

export interface Block {
  language: string;
  line: number;
  text: string;
  action: "run" | "serve" | "background" | "none";
  file?: string;
  ready?: string;
  needs?: string;
  notRunReason?: string;
}

export interface Step {
  command: string;
  expected: string;
}

/** Every page whose blocks are run. */
export const guidePages = (): string[] => [
  "docs/getting-started.md",
  ...readdirSync(join(root, "docs/guides"))
    .sort()
    .map((name) => `docs/guides/${name}`),
];

const FENCE = /^( *)```(\S+)(?: (.*))?$/;

export function blocksOf(path: string): Block[] {
  const lines = readFileSync(join(root, path), "utf8").split("\n");
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; at += 1) {
    const [, indent = "", language = "", info = ""] = FENCE.exec(lines[at] ?? "") ?? [];
    if (language === "") continue;
    const end = lines.findIndex((line, other) => other > at && line === `${indent}\`\`\``);
    const text = lines.slice(at + 1, end).map((line) => line.slice(indent.length));
    blocks.push({ language, line: at + 1, text: text.join("\n"), ...meaningOf(info) });
    at = end;
  }
  return blocks;
}

function meaningOf(info: string): Omit<Block, "language" | "line" | "text"> {
  const [, reason] = /\bnot run: (.+)$/.exec(info) ?? [];
  const words = (reason ? "" : info).split(" ").filter((word) => word !== "");
  const optionOf = (name: string) =>
    words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
  const [file, needs, ready] = [optionOf("file"), optionOf("needs"), optionOf("ready")];
  const action = words.find((word) => /^(run|serve|background)$/.test(word)) ?? "none";
  return {
    action: action as Block["action"],
    ...(file ? { file } : {}),
    ...(needs ? { needs } : {}),
    ...(ready ? { ready } : {}),
    ...(reason ? { notRunReason: reason } : {}),
  };
}

/** The commands of a `console` block, each with the output that the guide shows. */
export function stepsOf(text: string): Step[] {
  const steps: Step[] = [];
  let isCommand = false;
  for (const line of text.split("\n")) {
    const last = steps.at(-1);
    if (line.startsWith("$ ")) steps.push({ command: line.slice(2), expected: "" });
    else if (last && isCommand) last.command += `\n${line}`;
    else if (last) last.expected += `${line}\n`;
    isCommand = (line.startsWith("$ ") || isCommand) && line.endsWith("\\");
  }
  return steps;
}

/** Parts that differ from run to run: ids, times, ETags, and tokens. `…` stands for any text. */
const CHANGING =
  /…|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g;

/** Compares without blanks, because a guide wraps long lines. */
export function isAsShown(shown: string, real: string): boolean {
  const [expected, actual] = [shown, real].map((text) => text.replaceAll(/\s+/g, ""));
  const literals = (expected ?? "").split(CHANGING).map((part) => RegExp.escape(part));
  const kinds = [...(expected ?? "").matchAll(CHANGING)].map(([kind]) =>
    kind === "…" ? "[^]*?" : "[0-9a-fTZ.:-]+",
  );
  const pattern = literals.map((part, at) => part + (kinds[at] ?? "")).join("");
  return new RegExp(`^${pattern}$`).test(actual ?? "");
}
