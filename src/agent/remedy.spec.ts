import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { approved, makeAction, makeApprovalKeys } from '../../test/action.ts';
import { type Action, digestOf } from '../model/remedy.ts';
import { createFrameReader, encodeFrame, MAX_FRAME_BYTES } from '../model/wire/frames.ts';
import { RemedyReport } from '../model/wire/remedy.ts';
import { readPublicKey, serveRemedy } from './remedy.ts';

/*
 * The agent runs commands by their names: in these tests PATH leads to stand-ins for `ip` and `sysctl` and to nothing
 * else. The first prints the file `netconf`; the second notes what it was called with, and switches forwarding on there.
 */

const keys = makeApprovalKeys();
const NOW = 1_800_000_000_000;

const OFF = [
  { interface: 'all', forwarding: false },
  { interface: 'eth0', forwarding: false },
  { interface: 'lo', forwarding: true },
];
const ON = OFF.map((device) => ({ ...device, forwarding: true }));

let root: string;
const path = process.env['PATH'];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'netcheck-remedy-'));
  const bin = join(root, 'bin');
  mkdirSync(bin);
  program('ip', `/bin/cat ${root}/netconf`);
  program('sysctl', `echo "$*" >>${root}/ran; /bin/cp ${root}/netconf.on ${root}/netconf`);
  writeFileSync(join(root, 'netconf'), JSON.stringify(OFF));
  writeFileSync(join(root, 'netconf.on'), JSON.stringify(ON));
  process.env['PATH'] = bin;
});

afterEach(() => {
  process.env['PATH'] = path;
  rmSync(root, { recursive: true, force: true });
});

function program(name: string, script: string): void {
  writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

/** What `sysctl` was called with so far. */
function ran(): readonly string[] {
  const file = join(root, 'ran');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
}

const CLAIMS = 'var/lib/netcheck/claims';

function claims(): readonly string[] {
  const folder = join(root, CLAIMS);
  return existsSync(folder) ? readdirSync(folder).toSorted() : [];
}

type Served = { readonly exitCode: number; readonly reports: readonly RemedyReport[] };

/** Sends bytes to the agent of a node and returns all that it says. */
async function send(bytes: readonly Uint8Array[], node = 'node-2'): Promise<Served> {
  const input = new PassThrough();
  const output = new PassThrough();
  const reports: RemedyReport[] = [];
  const frames = createFrameReader(MAX_FRAME_BYTES);
  output.on('data', (chunk: Buffer) => {
    const values = frames.push(chunk);
    if ('kind' in values) throw new Error(values.message);
    reports.push(...values.map((value) => RemedyReport.parse(value)));
  });
  for (const chunk of bytes) input.write(chunk);
  input.end();
  const exitCode = await serveRemedy({ input, output, root, node, publicKey: keys.publicKey, clock: () => NOW });
  output.end();
  await new Promise((resolve) => output.once('end', resolve));
  return { exitCode, reports };
}

function order(action: Action, cluster = 'lab'): Promise<Served> {
  return send([encodeFrame({ cluster, action })]);
}

const READY = { type: 'ready', node: 'node-2' };
const refusal = (reason: unknown, exitCode = 1): Served => ({
  exitCode,
  reports: [READY, { type: 'refused', reason, before: [] }] as RemedyReport[],
});

const source = 'ip -j -4 netconf show';
const before = [{ where: 'node-2', source, text: 'forwarding on: lo; forwarding off: all, eth0' }];
const after = [{ where: 'node-2', source, text: 'forwarding on: all, eth0, lo' }];
const undo = ['ip_forward=0', 'conf/eth0/forwarding=0', 'conf/lo/forwarding=1'].map((text) => [
  'sysctl',
  '-w',
  `net/ipv4/${text}`,
]);

test('an approved action is claimed, carried out once and reported, and the prior state is kept', async () => {
  const action = approved(makeAction(), keys);
  expect(await order(action)).toEqual({
    exitCode: 0,
    reports: [
      READY,
      { type: 'claimed' },
      { type: 'acting', before },
      { type: 'done', before, after, error: null, undo, holds: false },
    ],
  });
  expect(ran()).toEqual(['-w net/ipv4/ip_forward=1']);
  const kept = ['a1234567890', 'a1234567890.after.json', 'a1234567890.prior.json'];
  expect(claims()).toEqual(kept);
  expect(kept.map((name) => JSON.parse(readFileSync(join(root, CLAIMS, name), 'utf8')))).toEqual([
    { action: action.id, digest: action.digest },
    { action: action.id, remedy: 'set-ip-forward', params: { device: 'all' }, state: { all: true, eth0: true, lo: true } },
    { action: action.id, remedy: 'set-ip-forward', params: { device: 'all' }, state: { all: false, eth0: false, lo: true } },
  ]);
  const modes = [CLAIMS, ...kept.map((name) => join(CLAIMS, name))].map((name) => statSync(join(root, name)).mode & 0o777);
  expect(modes).toEqual([0o700, 0o600, 0o600, 0o600]);
});

test('an action that has been begun on this node is refused for ever, whoever approves it again', async () => {
  const action = makeAction();
  await order(approved(action, keys));
  writeFileSync(join(root, 'netconf'), JSON.stringify(OFF));
  expect(await order(approved(action, keys))).toEqual(refusal('this action has been begun on this node before'));
  const again = approved(action, keys, NOW + 60_000, { user: 'U3', team: 'T1' });
  expect(await order(again)).toEqual(refusal('this action has been begun on this node before'));
  expect(ran()).toHaveLength(1);
});

test('of orders that come at once one is carried out', async () => {
  const action = approved(makeAction(), keys);
  const served = await Promise.all(Array.from({ length: 8 }, () => order(action)));
  expect(served.map(({ exitCode }) => exitCode).toSorted((a, b) => a - b)).toEqual([0, 1, 1, 1, 1, 1, 1, 1]);
  expect(ran()).toHaveLength(1);
});

test('a finding that no longer holds is refused with what is there instead', async () => {
  writeFileSync(join(root, 'netconf'), JSON.stringify(ON));
  expect(await order(approved(makeAction(), keys))).toEqual({
    exitCode: 1,
    reports: [
      READY,
      { type: 'claimed' },
      { type: 'refused', reason: 'the finding no longer holds: forwarding is on already (net.ipv4.ip_forward)', before: after },
    ],
  });
  expect([ran(), claims()]).toEqual([[], ['a1234567890']]);
});

/** Ways in which an order is not what was approved, each with the reason of its refusal. */
const approval = approved(makeAction(), keys).approvals[0]!;
const REFUSED: readonly (readonly [string, Action, unknown])[] = [
  [
    'another node',
    approved(makeAction({ target: { node: 'node-3', uid: 'u' } }), keys),
    /^the action is for the node node-3, this is node-2$/,
  ],
  ['another cluster', approved(makeAction({ cluster: 'prod' }), keys), /^the action is for the cluster prod$/],
  ['an id that leads elsewhere', approved(makeAction({ id: '../../etc/cron.d/x' }), keys), /^the action has no proper id$/],
  ['no id', approved(makeAction({ id: '' }), keys), /^the action has no proper id$/],
  [
    'a digest of something else',
    { ...approved(makeAction(), keys), digest: digestOf(makeAction({ run: 'r2' })) },
    /^the action is not the one that its digest/,
  ],
  [
    'parameters changed after the approval',
    { ...approved(makeAction(), keys), params: { device: 'eth0' } },
    /^the action is not the one that its digest/,
  ],
  [
    'commands changed after the approval',
    { ...approved(makeAction(), keys), commands: [['reboot']] },
    /^the action is not the one that its digest/,
  ],
  ['no approval', makeAction(), /^no approval of this action has a valid signature$/],
  [
    'the signature of another key',
    approved(makeAction(), makeApprovalKeys()),
    /^no approval of this action has a valid signature$/,
  ],
  [
    'a digest that was made anew',
    { ...makeAction({ params: { device: 'eth0' } }), approvals: approved(makeAction(), keys).approvals },
    /^no approval of this action has a valid signature$/,
  ],
  [
    'the approval of another action',
    { ...makeAction(), approvals: approved(makeAction({ id: 'a2' }), keys).approvals },
    /^no approval of this action has/,
  ],
  [
    'the approval of another cluster',
    { ...makeAction(), approvals: [{ ...approval, cluster: 'prod' }] },
    /^no approval of this action has/,
  ],
  [
    'another approver',
    { ...makeAction(), approvals: [{ ...approval, by: { user: 'U9', team: 'T1' } }] },
    /^no approval of this action has/,
  ],
  [
    'a later expiry',
    { ...makeAction(), approvals: [{ ...approval, expiresAt: approval.expiresAt - 1 }] },
    /^no approval of this action has/,
  ],
  [
    'a signature that is none',
    { ...makeAction(), approvals: [{ ...approval, signature: 'AAAA' }] },
    /^no approval of this action has/,
  ],
  [
    'an approval that has expired',
    approved(makeAction(), keys, NOW - 5 * 60_000 - 1),
    /^the approval has expired by this node's clock$/,
  ],
  ['one approval of two', approved(makeAction({ approvalsNeeded: 2 }), keys), /^1 of the 2 approvals that this action needs are/],
  [
    'two approvals of the same person',
    approved(approved(makeAction({ approvalsNeeded: 2 }), keys), keys, NOW + 1_000),
    /^1 of the 2 approvals that this action needs are signed and still hold$/,
  ],
  [
    'two approvals, one of which is forged',
    approved(approved(makeAction({ approvalsNeeded: 2 }), keys), makeApprovalKeys(), NOW, { user: 'U3', team: 'T1' }),
    /^1 of the 2 approvals that this action needs are signed and still hold$/,
  ],
  [
    'two approvals, one of which has expired',
    approved(approved(makeAction({ approvalsNeeded: 2 }), keys), keys, NOW - 5 * 60_000 - 1, { user: 'U3', team: 'T1' }),
    /^1 of the 2 approvals that this action needs are signed and still hold$/,
  ],
  [
    'fewer approvals asked for than when it was requested',
    { ...approved(makeAction({ approvalsNeeded: 2 }), keys), approvalsNeeded: 1 },
    /^the action is not the one that its digest/,
  ],
  [
    'a broken glass that nobody signed',
    { ...makeAction({ approvalsNeeded: 2 }), approvals: [{ ...approval, breakGlass: 'now' }] },
    /^no approval of this action has/,
  ],
  [
    'a risk that the remedy has not',
    approved(makeAction({ riskClass: 'low' }), keys),
    /^it was approved as low risk, which set-ip-forward is not$/,
  ],
  ['a remedy that the agent has not', approved(makeAction({ remedy: 'reboot' }), keys), /^this agent knows no remedy reboot$/],
  ['a name of no remedy', approved(makeAction({ remedy: 'toString' }), keys), /^this agent knows no remedy toString$/],
  [
    'parameters of another form',
    approved(makeAction({ params: { device: 'eth0; reboot' } }), keys),
    /^the parameters are not those of set-ip-forward$/,
  ],
  [
    'approved commands that the remedy would not run',
    approved(makeAction({ commands: [['sysctl', '-w', 'kernel.panic=1']] }), keys),
    /^the commands that were approved are not those of this version of the agent$/,
  ],
];

test.each(REFUSED)('refused before anything is touched: %s', async (_, action, reason) => {
  expect(await order(action)).toEqual(refusal(expect.stringMatching(reason as RegExp)));
  expect([ran(), claims()]).toEqual([[], []]);
});

test('an approval that has just expired counts: the clocks of a node and of Redis differ', async () => {
  expect((await order(approved(makeAction(), keys, NOW - 5 * 60_000))).exitCode).toBe(0);
});

const two = approved(makeAction({ approvalsNeeded: 2 }), keys);
test.each([
  ['two approvals of two people', approved(two, keys, NOW, { user: 'U3', team: 'T1' })],
  ['one that broke the glass', approved(makeAction({ approvalsNeeded: 2 }), keys, NOW, { user: 'U3', team: 'T1' }, 'now')],
])('where two approvals are needed %s are enough', async (_, action) => {
  expect((await order(action)).exitCode).toBe(0);
});

test('one valid approval among others is enough', async () => {
  const [forged] = approved(makeAction(), makeApprovalKeys()).approvals;
  const action = approved(makeAction(), keys);
  expect((await order({ ...action, approvals: [forged!, ...action.approvals] })).exitCode).toBe(0);
});

test('an order for the cluster of another worker is refused', async () => {
  expect(await order(approved(makeAction(), keys), 'prod')).toEqual(refusal('the action is for the cluster lab'));
});

test('an order that comes in pieces is understood', async () => {
  const frame = encodeFrame({ cluster: 'lab', action: approved(makeAction(), keys) });
  expect((await send([frame.subarray(0, 3), frame.subarray(3, 100), frame.subarray(100)])).exitCode).toBe(0);
});

test.each([
  ['nothing', []],
  ['half a frame', [encodeFrame({ cluster: 'lab' }).subarray(0, 8)]],
  ['no JSON', [Buffer.from([0, 0, 0, 1, 0x7b])]],
  ['a frame of 4 GiB', [Buffer.from([0xff, 0xff, 0xff, 0xff])]],
  ['no order', [encodeFrame({ cluster: 'lab', action: { ...makeAction(), more: 1 } })]],
])('what is no order is refused: %s', async (_, bytes) => {
  expect(await send(bytes)).toEqual(refusal('the order is not one that this agent understands', 2));
});

test('a command that fails is reported with what it said, nothing after it runs, and what changed nothing is not undone', async () => {
  program('sysctl', 'echo "permission denied on key" >&2; exit 1');
  const error = 'sysctl -w net/ipv4/ip_forward=1: exit status 1 permission denied on key';
  expect(await order(approved(makeAction(), keys))).toEqual({
    exitCode: 1,
    reports: [
      READY,
      { type: 'claimed' },
      { type: 'acting', before },
      { type: 'done', before, after: before, error, undo: [], holds: true },
    ],
  });
});

test.each([
  ['says nonsense', 'echo nonsense'],
  ['fails', 'echo oops >&2; exit 1'],
])('nothing is changed where the state cannot be read: ip %s', async (_, script) => {
  program('ip', script);
  expect(await order(approved(makeAction(), keys))).toEqual({
    exitCode: 1,
    reports: [
      READY,
      { type: 'claimed' },
      { type: 'refused', reason: expect.stringMatching(/^the state cannot be read: /), before: [] },
    ],
  });
  expect([ran(), claims()]).toEqual([[], ['a1234567890']]);
});

test('what ran is reported as done, also where the state cannot be read afterwards: then it cannot be undone', async () => {
  program('sysctl', `echo "$*" >>${root}/ran; echo nonsense >${root}/netconf`);
  expect(await order(approved(makeAction(), keys))).toEqual({
    exitCode: 0,
    reports: [READY, { type: 'claimed' }, { type: 'acting', before }, { type: 'done', before, after: [], error: null, undo: [] }],
  });
  expect(ran()).toHaveLength(1);
});

test('a worker that goes away after the claim does not stop the action', async () => {
  const output = new PassThrough();
  output.destroy();
  const input = new PassThrough();
  input.end(encodeFrame({ cluster: 'lab', action: approved(makeAction(), keys) }));
  expect(await serveRemedy({ input, output, root, node: 'node-2', publicKey: keys.publicKey, clock: () => NOW })).toBe(0);
  expect(ran()).toHaveLength(1);
});

test('claims lie below the root that is given, and one that cannot be made stops everything', async () => {
  appendFileSync(join(root, 'var'), 'a file where a folder should be');
  await expect(order(approved(makeAction(), keys))).rejects.toThrow(/ENOTDIR|EEXIST/);
  expect(ran()).toEqual([]);
});

test('without the key that approvals are verified with there is no agent', async () => {
  expect(() => readPublicKey(join(root, 'none'))).toThrow(/ENOENT/);
  const output = new PassThrough();
  await expect(
    serveRemedy({ input: new PassThrough(), output, root, node: 'node-2', publicKey: 'no key', clock: () => NOW }),
  ).rejects.toThrow(/DECODER|unsupported|PEM/);
  expect(output.read()).toBeNull();
});
