/** One figure, and whether it is within its bound. */
export interface Row {
  what: string;
  measured: string;
  must: string;
  /** Undefined if there is no bound. */
  isMet: boolean | undefined;
}

const verdict = (isMet: boolean | undefined) => {
  if (isMet === undefined) return "";
  return isMet ? "ok" : "no";
};

/** A Markdown table. */
export const printTable = (rows: Row[]): string =>
  [
    "| what | measured | must | |",
    "|---|---|---|---|",
    ...rows.map(
      ({ what, measured, must, isMet }) =>
        `| ${what} | ${measured} | ${must} | ${verdict(isMet)} |`,
    ),
  ].join("\n");

export function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

/** `1.32 × (1.28–1.37)`: the median, minimum and maximum of the rounds. */
export const printRatios = (ratios: number[]): string =>
  `${median(ratios).toFixed(2)} × (${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)})`;
