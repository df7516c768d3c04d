import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runNetcheck } from '../../test/netcheck.ts';

const CHECKS = join(import.meta.dirname, '../checks');
const forwardingOff = join(CHECKS, 'linux/ip-forward-off/fixtures/by-file/bundle.json');
const healthy = join(CHECKS, 'linux/ip-forward-off/fixtures/healthy/bundle.json');

test('a plan says exactly what would run, where, why, at what risk, and how it is undone', async () => {
  const { status, stdout } = await runNetcheck(['remedy', 'plan', '--from', forwardingOff]);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^Enable IP forwarding on node-2 {2}\(set-ip-forward, medium risk\)$/m);
  expect(stdout).toContain('  Runs exactly this, on node-2:\n    sysctl -w net/ipv4/ip_forward=1\n');
  expect(stdout).toMatch(/^ {2}Why: .*ip_forward.* \(ip-forward-off\)$/m);
  expect(stdout).toMatch(/^ {2}Risk: Every device of the node forwards/m);
  expect(stdout).toMatch(/^ {2}Undo: Every device gets back/m);
});

test('as JSON it is the plan that a card is made of', async () => {
  const { status, stdout } = await runNetcheck(['remedy', 'plan', 'ip-forward-off', '--from', forwardingOff, '--output', 'json']);
  expect([status, JSON.parse(stdout)]).toMatchObject([
    0,
    [{ remedy: 'set-ip-forward', target: { node: 'node-2' }, commands: [['sysctl', '-w', 'net/ipv4/ip_forward=1']] }],
  ]);
});

test('where nothing is wrong there is no plan, and where another finding is asked for, it is said what was found', async () => {
  const nothing = await runNetcheck(['remedy', 'plan', '--from', healthy]);
  expect([nothing.status, nothing.stdout]).toEqual([1, expect.stringContaining("No remedy of netcheck's is known for it.")]);
  const other = await runNetcheck(['remedy', 'plan', 'ip-forward-of', '--from', forwardingOff]);
  expect([other.status, other.stdout]).toEqual([
    1,
    expect.stringMatching(/^ip-forward-of was not found: .* Did you mean ip-forward-off\?\n$/),
  ]);
});

test.each([
  [['remedy', 'apply'], 'remedy apply: it is remedy plan.'],
  [['remedy', 'plan', '--from', healthy, '--output', 'slack'], '--output slack: it is text or json.'],
  [['remedy', 'plan', '--from', 'no-such-file'], 'no-such-file cannot be read'],
])('%j is wrong usage', async (argv, said) => {
  const { status, stderr } = await runNetcheck(argv);
  expect([status, stderr]).toEqual([3, expect.stringContaining(said)]);
});
