import type { HashCost } from "../credentials/stored-hash.ts";
import { type JsonFlag, printAnswer } from "../terminal.ts";

/** From the usual cost (OWASP) to one that a server with many users can hardly afford. */
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

/** Proposes the highest hash cost within the target. Measures one hash at a time. */
export async function calibrate({
  json: isJson,
  milliseconds: target = TARGET_MS,
}: JsonFlag & { milliseconds?: number }): Promise<void> {
  const measurements: (HashCost & { milliseconds: number })[] = [];
  for (const cost of candidates) {
    const milliseconds = await measure(cost);
    measurements.push({ ...cost, milliseconds });
    if (milliseconds > target) break;
  }
  const [weakest] = measurements;
  const proposed = measurements.findLast(({ milliseconds }) => milliseconds <= target) ?? weakest;
  const setting = `m=${proposed?.kibibytes},t=${proposed?.passes}`;
  const lines = measurements.map(
    ({ kibibytes, passes, milliseconds }) =>
      `${milliseconds.toFixed(0).padStart(5)} ms  m=${kibibytes},t=${passes}`,
  );
  if ((proposed?.milliseconds ?? 0) > target)
    lines.push(`Even the weakest cost takes longer than ${target} ms on this machine.`);
  const text = [...lines, `PASSWORD_HASH=${setting}`].join("\n");
  printAnswer(
    { json: { target_ms: target, measured: measurements, proposed: setting }, text },
    isJson,
  );
}

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
