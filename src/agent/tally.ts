import { StringDecoder } from 'node:string_decoder';
import type { Collector } from './command.ts';

/** Different lines that are told apart at most, and of which the counts are given at most. */
const MAX_KEYS = 200_000;
const MAX_LINES = 20_000;

/**
 * Counts the lines of a stream by what the named groups of a pattern match in them. The text is one line for each
 * different match, the most frequent first: the count and the groups, with a space between, `-` for one that matches
 * nothing; `?` stands for lines without a match, `…` for all that is rarer than what is listed. Takes no more when far
 * too many are different.
 */
export function createTally(pattern: string): Collector {
  const matcher = new RegExp(pattern);
  const counts = new Map<string, number>();
  const decoder = new StringDecoder('utf8');
  let rest = '';
  const count = (line: string): void => {
    const match = matcher.exec(line);
    const key =
      match === null
        ? '?'
        : Object.values(match.groups ?? {})
            .map((text: string | undefined) => text ?? '-')
            .join(' ');
    counts.set(key, (counts.get(key) ?? 0) + 1);
  };
  const full = (): boolean => counts.size > MAX_KEYS;
  return {
    push(chunk) {
      const lines = `${rest}${decoder.write(chunk)}`.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) count(line);
      return !full();
    },
    full,
    text() {
      if (rest !== '') count(rest);
      rest = '';
      const byCount = [...counts].sort(([a, many], [b, more]) => more - many || (a < b ? -1 : 1));
      const others = byCount.splice(MAX_LINES).reduce((sum, [, number]) => sum + number, 0);
      if (others > 0) byCount.push(['…', others]);
      return byCount.map(([key, number]) => `${number} ${key}\n`).join('');
    },
  };
}
