import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readFiles } from './files.ts';

let root: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'netcheck-root-'));
  for (const folder of ['etc/sysctl.d', 'etc/static', 'usr/lib/sysctl.d']) mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, 'etc/sysctl.conf'), 'a = 1\n');
  writeFileSync(join(root, 'etc/static/60-nixos.conf'), 'b = 1');
  writeFileSync(join(root, 'usr/lib/sysctl.d/10-x.conf'), 'c = 1\n');
  symlinkSync('../sysctl.conf', join(root, 'etc/sysctl.d/99-sysctl.conf'));
  symlinkSync('/etc/static/60-nixos.conf', join(root, 'etc/sysctl.d/60-nixos.conf'));
  symlinkSync('/dev/null', join(root, 'etc/sysctl.d/10-x.conf'));
  symlinkSync('/etc/gone.conf', join(root, 'etc/sysctl.d/70-gone.conf'));
  symlinkSync('usr/lib', join(root, 'lib'));
  symlinkSync('turn', join(root, 'etc/round'));
  symlinkSync('round', join(root, 'etc/turn'));
});

afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

const read = (...files: readonly string[]) => {
  const { stdout, stderr, exitCode, fault } = readFiles(files, root, { deadlineMs: 1000, maxBytes: 1000 });
  return { stdout, stderr, exitCode, ...(fault === undefined ? {} : { fault }) };
};

test('links are followed below the root that they belong to; a link to nothing is no file, one to /dev/null an empty one', () => {
  expect(read('/etc/sysctl.d/*.conf', '/lib/sysctl.d/*.conf', '/etc/none')).toEqual({
    stdout: `==> /etc/sysctl.d/10-x.conf <==
==> /etc/sysctl.d/60-nixos.conf <==
b = 1
==> /etc/sysctl.d/99-sysctl.conf <==
a = 1
==> /lib/sysctl.d/10-x.conf <==
c = 1
`,
    stderr: '',
    exitCode: 0,
  });
});

test('links that go round are a failure, not a missing file', () => {
  expect(read('/etc/round')).toMatchObject({
    exitCode: null,
    fault: 'failed',
    stderr: expect.stringContaining('too many links'),
  });
});
