import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createHost } from './host.ts';

let root: string;
let outside: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'netcheck-host-'));
  outside = mkdtempSync(join(tmpdir(), 'netcheck-outside-'));
  mkdirSync(join(root, 'etc/sysctl.d'), { recursive: true });
  writeFileSync(join(outside, 'secret'), 'secret');
});

afterEach(() => {
  for (const folder of [root, outside]) rmSync(folder, { recursive: true, force: true });
});

const FILE = '/etc/sysctl.d/60-netcheck.conf';

function below(path: string): string {
  return join(root, path);
}

/** Every file and link below the root, to see that nothing else was touched. */
function tree(): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => !lstatSync(below(name)).isDirectory())
    .toSorted();
}

test('a file is written whole, for everybody to read, and nothing beside it is left', async () => {
  const host = createHost(root);
  const umask = process.umask(0o077);
  try {
    expect(await host.run(['write-file', FILE, 'net.ipv4.ip_forward = 1\n'])).toBe('');
  } finally {
    process.umask(umask);
  }
  expect([readFileSync(below(FILE), 'utf8'), statSync(below(FILE)).mode & 0o777, tree()]).toEqual([
    'net.ipv4.ip_forward = 1\n',
    0o644,
    ['etc/sysctl.d/60-netcheck.conf'],
  ]);
});

test('a file is replaced, not written into: whoever has it open keeps the one from before', async () => {
  const host = createHost(root);
  await host.run(['write-file', FILE, 'one']);
  const inode = statSync(below(FILE)).ino;
  await host.run(['write-file', FILE, 'two']);
  expect([await host.readText(FILE), statSync(below(FILE)).ino === inode]).toEqual(['two', false]);
});

test('what a write that was cut short has left does not disturb the next one', async () => {
  const left = below('/etc/sysctl.d/.60-netcheck.conf.netcheck');
  writeFileSync(left, 'a longer text than the one that is written now', { mode: 0o600 });
  await createHost(root).run(['write-file', FILE, 'short']);
  expect([readFileSync(below(FILE), 'utf8'), statSync(below(FILE)).mode & 0o777, tree()]).toEqual([
    'short',
    0o644,
    ['etc/sysctl.d/60-netcheck.conf'],
  ]);
});

test('a file is removed, and one that is not there is an error', async () => {
  const host = createHost(root);
  await host.run(['write-file', FILE, 'x']);
  expect(await host.run(['remove-file', FILE])).toBe('');
  expect(tree()).toEqual([]);
  await expect(host.run(['remove-file', FILE])).rejects.toThrow(/ENOENT/);
});

test('text is read as it is; what is not there is null, and what cannot be read an error', async () => {
  const host = createHost(root);
  await host.run(['write-file', FILE, 'a\nü\n']);
  expect([await host.readText(FILE), await host.readText('/etc/none'), await host.readText('/none/at/all')]).toEqual([
    'a\nü\n',
    null,
    null,
  ]);
  await expect(host.readText('/etc/sysctl.d')).rejects.toThrow(/EISDIR/);
  await expect(host.readText(`${FILE}/x`)).rejects.toThrow(/ENOTDIR/);
  writeFileSync(below('/etc/large'), 'x'.repeat(256 * 1024 + 1));
  await expect(host.readText('/etc/large')).rejects.toThrow('/etc/large is larger than 262144 bytes');
});

test.each(['etc/passwd', './etc/passwd', '../outside', '/etc/../../outside', '/etc/./passwd', '/etc//passwd', '', '-x'])(
  '%j is no whole, plain path',
  async (path) => {
    const host = createHost(root);
    const message = `${path} is not a whole, plain path`;
    await expect(host.run(['write-file', path, 'x'])).rejects.toThrow(message);
    await expect(host.run(['remove-file', path])).rejects.toThrow(message);
    await expect(host.readText(path)).rejects.toThrow(message);
    expect(tree()).toEqual([]);
  },
);

test.each([['absolute'], ['relative']])('a folder that is a symbolic link is not followed: %s', async (kind) => {
  const host = createHost(root);
  symlinkSync(kind === 'absolute' ? outside : join('..', outside), below('/etc/linked'));
  for (const path of ['/etc/linked/secret', '/etc/linked/deeper/secret']) {
    await expect(host.run(['write-file', path, 'x'])).rejects.toThrow('/etc/linked is a symbolic link');
    await expect(host.run(['remove-file', path])).rejects.toThrow('/etc/linked is a symbolic link');
    await expect(host.readText(path)).rejects.toThrow('/etc/linked is a symbolic link');
  }
  expect([readdirSync(outside), readFileSync(join(outside, 'secret'), 'utf8')]).toEqual([['secret'], 'secret']);
});

test('nothing is written through a file that is a symbolic link', async () => {
  const host = createHost(root);
  symlinkSync(join(outside, 'secret'), below(FILE));
  await expect(host.readText(FILE)).rejects.toThrow(/ELOOP/);
  await expect(host.run(['write-file', FILE, 'x'])).rejects.toThrow(`${FILE} is a symbolic link`);
  await expect(host.run(['remove-file', FILE])).rejects.toThrow(`${FILE} is a symbolic link`);
  expect(lstatSync(below(FILE)).isSymbolicLink()).toBe(true);
  // Nor through one that lies where the text is prepared.
  symlinkSync(join(outside, 'made'), below('/etc/.other.netcheck'));
  await host.run(['write-file', '/etc/other', 'x']);
  expect([
    readFileSync(join(outside, 'secret'), 'utf8'),
    existsSync(join(outside, 'made')),
    readFileSync(below('/etc/other'), 'utf8'),
  ]).toEqual(['secret', false, 'x']);
});

test('a write that fails leaves the file as it was', async () => {
  const host = createHost(root);
  await host.run(['write-file', FILE, 'as it was']);
  mkdirSync(below('/etc/sysctl.d/.60-netcheck.conf.netcheck'));
  await expect(host.run(['write-file', FILE, 'new'])).rejects.toThrow(/directory/);
  expect(await host.readText(FILE)).toBe('as it was');
  await expect(host.run(['write-file', '/none/at/all', 'x'])).rejects.toThrow(/ENOENT/);
});

test('any other command is a program, without a shell; what it says on failing is the error', async () => {
  const host = createHost(root);
  expect(await host.run(['echo', '$HOME;', '`id`'])).toBe('$HOME; `id`\n');
  const program = below('/fails');
  writeFileSync(program, '#!/bin/sh\necho "no such $1" >&2\nexit 3\n');
  chmodSync(program, 0o755);
  await expect(host.run([program, 'rule'])).rejects.toThrow(`${program} rule: exit status 3 no such rule`);
  await expect(host.run(['no-such-program-at-all'])).rejects.toThrow(/^no-such-program-at-all: not-found/);
});
