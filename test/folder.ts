import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** A new folder for the tests of one file, gone after the last of them. Call it outside of hooks and tests. */
export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), 'netcheck-spec-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
