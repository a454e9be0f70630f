import { Exit } from "../kit/exit.ts";
import type { HashCost } from "../kit/stored-hash.ts";
import { print, type Typed } from "./terminal.ts";

/** From what is usual (OWASP) to what a server for many can hardly afford. */
const candidates: HashCost[] = [
  { kibibytes: 19_456, passes: 2 },
  { kibibytes: 32_768, passes: 2 },
  { kibibytes: 47_104, passes: 2 },
  { kibibytes: 65_536, passes: 2 },
  { kibibytes: 65_536, passes: 3 },
  { kibibytes: 131_072, passes: 3 },
];
const ROUNDS = 5;
const TARGET_MS = 60;
const TARGET_MAX_MS = 2_000;

/** Proposes the dearest hash that takes no longer than the target, one at a time, on this machine as it is now. */
export async function calibrate({ flags }: Typed): Promise<void> {
  const target = Number(flags["milliseconds"] ?? TARGET_MS);
  if (!Number.isInteger(target) || target < 1 || target > TARGET_MAX_MS)
    throw new Exit("usage", `--milliseconds must be a whole number from 1 to ${TARGET_MAX_MS}.`);
  const measured: (HashCost & { milliseconds: number })[] = [];
  for (const cost of candidates) {
    const milliseconds = await measure(cost);
    measured.push({ ...cost, milliseconds });
    if (milliseconds > target) break;
  }
  const [weakest] = measured;
  const proposed = measured.findLast(({ milliseconds }) => milliseconds <= target) ?? weakest;
  const setting = `m=${proposed?.kibibytes},t=${proposed?.passes}`;
  if (flags["json"])
    return print(JSON.stringify({ target_ms: target, measured, proposed: setting }));
  for (const { kibibytes, passes, milliseconds } of measured)
    print(`${milliseconds.toFixed(0).padStart(5)} ms  m=${kibibytes},t=${passes}`);
  if ((proposed?.milliseconds ?? 0) > target)
    print(`Even the usual one takes longer than ${target} ms here.`);
  print(`PASSWORD_HASH=${setting}`);
}

/** The median, in milliseconds. */
async function measure({ kibibytes: memoryCost, passes: timeCost }: HashCost): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const from = performance.now();
    await Bun.password.hash("a password to measure", {
      algorithm: "argon2id",
      memoryCost,
      timeCost,
    });
    times.push(performance.now() - from);
  }
  return times.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0;
}
