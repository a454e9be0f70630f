/** The number of single-letter edits between two texts (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries())
      next.push(
        Math.min(
          (next[j] ?? 0) + 1,
          (row[j + 1] ?? 0) + 1,
          (row[j] ?? 0) + (letter === other ? 0 : 1),
        ),
      );
    row = next;
  }
  return row[b.length] ?? 0;
}

const EDITS_MAX = 2;

/** Typos in the first character are rare, and comparing everything would slow down the start. */
const isWorthComparing = (name: string, candidate: string) =>
  name[0] === candidate[0] && Math.abs(candidate.length - name.length) <= EDITS_MAX;

/** The known name that `name` is probably a typo of: at most two edits, one per 4 characters. */
export const nearest = (name: string, known: string[]): string | undefined =>
  known
    .filter((candidate) => isWorthComparing(name, candidate))
    .map((candidate) => ({ candidate, edits: distance(name, candidate) }))
    .filter(({ candidate, edits }) => edits <= EDITS_MAX && candidate.length >= 4 * edits)
    .sort((a, b) => a.edits - b.edits)[0]?.candidate;
