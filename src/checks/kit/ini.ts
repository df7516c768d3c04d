/** One setting of a configuration file in sections, as NetworkManager's and systemd's: `line` counts from 1. */
export type Setting = {
  readonly file: string;
  readonly line: number;
  readonly section: string;
  readonly key: string;
  readonly value: string;
};

/**
 * The settings of several files, from evidence of a reading of files, file by file in the order of their names; a name
 * that has been met in an earlier directory masks the same name in later ones. Throws for what is no list of files.
 */
export function readSettings(stdout: string): ReadonlyMap<string, readonly Setting[]> {
  const files = new Map<string, Setting[]>();
  let file = '';
  let section = '';
  let line = 0;
  for (const text of stdout.split('\n')) {
    const header = /^==> (.+) <==$/.exec(text)?.[1];
    line += 1;
    if (header !== undefined) {
      [file, section, line] = [header, '', 0];
      files.set(file, []);
    } else if (file === '') {
      if (text !== '') throw new TypeError(`a line before the first file: ${text}`);
    } else {
      section = /^\s*\[(.+)\]\s*$/.exec(text)?.[1] ?? section;
      const [, key, value] = /^\s*([^#;=[\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(text) ?? [];
      if (key !== undefined && value !== undefined) files.get(file)?.push({ file, line, section, key, value });
    }
  }
  return inOrder(files);
}

function inOrder(files: ReadonlyMap<string, readonly Setting[]>): ReadonlyMap<string, readonly Setting[]> {
  const name = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
  const first = new Map<string, string>();
  for (const path of files.keys()) if (!first.has(name(path))) first.set(name(path), path);
  const order = [...first].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path);
  return new Map(order.map((path) => [path, files.get(path) ?? []]));
}

/** Whether a name is one of those that a shell pattern stands for: `*`, `?` and `[…]`. */
export function isLike(name: string, pattern: string): boolean {
  const source = pattern
    .replaceAll(/[.+^${}()|\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
    .replaceAll('[!', '[^');
  try {
    return new RegExp(`^${source}$`).test(name);
  } catch {
    return false;
  }
}
