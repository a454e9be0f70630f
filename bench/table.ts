/** One figure: what was measured, in words for a person, and whether it is as the promises say. */
export interface Line {
  what: string;
  measured: string;
  must: string;
  /** Undefined where nothing is promised. */
  isKept: boolean | undefined;
}

const verdict = (isKept: boolean | undefined) => {
  if (isKept === undefined) return "";
  return isKept ? "ok" : "no";
};

/** A Markdown table. */
export const printTable = (lines: Line[]): string =>
  [
    "| what | measured | must | |",
    "|---|---|---|---|",
    ...lines.map(
      ({ what, measured, must, isKept }) =>
        `| ${what} | ${measured} | ${must} | ${verdict(isKept)} |`,
    ),
  ].join("\n");

export function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

/** `1.32 × (1.28–1.37)`: the median of the rounds, and the least and the most of them. */
export const printRatios = (ratios: number[]): string =>
  `${median(ratios).toFixed(2)} × (${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)})`;
