/**
 * The candidates that somebody who typed `word` probably meant, closest first, at most `limit`. A candidate is near
 * when few letters differ (one for short words, up to a third of the longer one), or when one begins with the other.
 */
export function nearNames(word: string, candidates: Iterable<string>, limit = 3): string[] {
  const typed = word.toLowerCase();
  if (typed === '') return [];
  const near: { readonly name: string; readonly distance: number }[] = [];
  for (const name of new Set(candidates)) {
    const candidate = name.toLowerCase();
    const distance = editDistance(typed, candidate);
    const tolerated = Math.max(1, Math.floor(Math.max(typed.length, candidate.length) / 3));
    const begins = typed.length >= 2 && (candidate.startsWith(typed) || typed.startsWith(candidate));
    if (distance <= tolerated || begins) near.push({ name, distance });
  }
  return near
    .sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, limit)
    .map(({ name }) => name);
}

/** Damerau-Levenshtein distance (adjacent transpositions count once) over UTF-16 units. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min(at(rows, i - 1, j) + 1, (row[j - 1] ?? 0) + 1, at(rows, i - 1, j - 1) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, at(rows, i - 2, j - 2) + 1);
      row.push(best);
    }
    rows.push(row);
  }
  return at(rows, a.length, b.length);
}

function at(rows: readonly (readonly number[])[], i: number, j: number): number {
  return rows[i]?.[j] ?? 0;
}
