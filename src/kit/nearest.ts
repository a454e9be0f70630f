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

/** Few get the first letter wrong, and comparing the whole environment with every setting would slow the start down. */
const isWorthComparing = (name: string, candidate: string) =>
  name[0] === candidate[0] && Math.abs(candidate.length - name.length) <= EDITS_MAX;

/** The known name that somebody who wrote `name` probably meant, if any: at most two letters off. */
export const nearest = (name: string, known: string[]): string | undefined =>
  known
    .filter((candidate) => isWorthComparing(name, candidate))
    .map((candidate) => ({ candidate, far: distance(name, candidate) }))
    .filter(({ candidate, far }) => far <= EDITS_MAX && candidate.length >= 4 * far)
    .sort((a, b) => a.far - b.far)[0]?.candidate;
