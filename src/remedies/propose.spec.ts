import { expect, test } from 'vitest';
import { readCase } from '../../test/fixtures.ts';
import { readRecording } from '../cli/demo/recording.ts';
import { judge } from '../diagnosis/judge.ts';
import type { Bundle } from '../model/bundle.ts';
import type { VerdictFinding } from '../model/verdict.ts';
import { propose } from './propose.ts';

const { broken, healed } = readRecording();
const verdict = judge(broken);
const cause = verdict.causes[0]!;

/** The verdict with its one cause changed. */
function withCause(change: Partial<VerdictFinding>) {
  return { ...verdict, causes: [{ ...cause, ...change }] };
}

test('a cause with a remedy becomes a plan: what, where, why, at what risk, how undone and how verified', () => {
  const node = broken.inventory.nodes.find(({ name }) => name === 'node-3');
  const [plan, ...others] = propose(verdict, broken);
  expect(others).toEqual([]);
  expect(plan).toEqual({
    remedy: 'set-ip-forward',
    title: 'Enable IP forwarding on node-3',
    target: { node: 'node-3', uid: node?.uid },
    params: { device: 'all' },
    commands: [['sysctl', '-w', 'net/ipv4/ip_forward=1']],
    risk: expect.stringContaining('Every device of the node forwards from then on'),
    riskClass: 'medium',
    undo: 'Every device gets back the value that it had, by commands that the thread shows afterwards.',
    finding: { code: 'ip-forward-off', summary: cause.summary, evidence: cause.evidence },
    verification: expect.any(Array),
  });
});

test('what is verified are probes of the first round, each once, with what they showed when they failed', () => {
  const probes = new Map(broken.plan.probes.map((probe) => [probe.id, probe]));
  const verification = propose(verdict, broken)[0]?.verification ?? [];
  expect(cause.explains.some((id) => probes.get(id)?.repeats !== undefined)).toBe(true);
  const originals = cause.explains.map((id) => probes.get(id)?.repeats ?? id).filter((id) => probes.get(id)?.round === 1);
  expect(verification.map(({ probe }) => probe).toSorted()).toEqual([...new Set(originals)].toSorted());
  const measured = verification.filter(({ probe }) =>
    verdict.symptoms.some(({ id }) => id === probe || id.startsWith(`${probe} x`)),
  );
  expect(measured).toEqual(verification);
  expect(verification.filter(({ before }) => before.sent === 0 || before.delivered === before.sent)).toEqual([]);
});

test('of very many failed probes 120 are sent again, picked evenly', () => {
  const [probe] = broken.plan.probes;
  const many = Array.from({ length: 1000 }, (_, index) => ({ ...probe!, id: `p${index}` }));
  const bundle: Bundle = { ...broken, plan: { ...broken.plan, probes: many } };
  const [plan] = propose(withCause({ explains: many.map(({ id }) => id) }), bundle);
  const picked = (plan?.verification ?? []).map((item) => Number(item.probe.slice(1)));
  const gaps = new Set(picked.slice(1).map((number, index) => number - (picked[index] ?? 0)));
  expect([picked.length, picked[0], [...gaps].toSorted((a, b) => a - b)]).toEqual([120, 0, [8, 9]]);
});

test.each([
  ['no remedy', { remedy: undefined }],
  ['a remedy that there is not', { remedy: { ...cause.remedy!, id: 'reboot' } }],
  ['a remedy of a node that is not there', { remedy: { ...cause.remedy!, node: 'node-9' } }],
  ['parameters that are not those of the remedy', { remedy: { ...cause.remedy!, params: { device: 'eth0; reboot' } } }],
] as [string, Partial<VerdictFinding>][])('a cause with %s is offered nothing', (_, change) => {
  expect(propose(withCause(change), broken)).toEqual([]);
});

test('a healthy cluster is offered nothing', () => {
  expect(propose(judge(healed), healed)).toEqual([]);
});

test('a risk is offered its remedy after those of the causes, and no probe verifies it', () => {
  const remedy = { ...cause.remedy!, params: { device: 'eth0' } };
  const risk: VerdictFinding = { ...cause, code: 'interface-forwarding-off', explains: [], remedy };
  const [first, second, ...others] = propose({ ...verdict, risks: [risk] }, broken);
  expect([first, others]).toEqual([propose(verdict, broken)[0], []]);
  expect(second).toMatchObject({ params: { device: 'eth0' }, finding: { code: 'interface-forwarding-off' }, verification: [] });
});

test.each([
  [
    '/etc/sysctl.d/90-hardening.conf:3',
    'It lasts until the next boot: correct /etc/sysctl.d/90-hardening.conf, line 3, as well.',
  ],
  ['ip -j -4 netconf show', "It lasts until the next boot: set it where the node's configuration is kept as well."],
])('what changes the running kernel only says so, with the file that the finding cites: %s', (source, lasting) => {
  const [plan] = propose(withCause({ evidence: [{ where: 'node-3', source, text: 'net.ipv4.ip_forward = 0' }] }), broken);
  expect(plan?.risk).toBe(`Every device of the node forwards from then on, also those that had it off before. ${lasting}`);
});

test('what several findings offer alike is offered once, for the first', () => {
  const other: VerdictFinding = { ...cause, code: 'another' };
  const plans = propose({ ...verdict, causes: [cause, other], risks: [other] }, broken);
  expect(plans).toEqual(propose(verdict, broken));
});

test('a stale neighbour of the captured cases is offered exactly its own entry', () => {
  const bundle = readCase('linux/stale-neighbour', 'learnt');
  const stale = judge(bundle).risks.find(({ code }) => code === 'stale-neighbour')!;
  const { dev = '', ip = '', mac = '' } = stale.remedy?.params ?? {};
  expect(propose({ ...verdict, causes: [stale] }, bundle)).toEqual([
    {
      remedy: 'flush-neighbour',
      title: expect.stringMatching(/^Flush the stale neighbour entry on node-\d$/),
      target: { node: stale.remedy?.node, uid: bundle.inventory.nodes.find(({ name }) => name === stale.remedy?.node)?.uid },
      params: { dev, ip, mac },
      commands: [['ip', 'neighbour', 'flush', 'to', ip, 'dev', dev]],
      risk: expect.stringContaining('asked for again by ARP'),
      riskClass: 'low',
      undo: null,
      irreversible: expect.stringContaining('not worth bringing back'),
      finding: { code: 'stale-neighbour', summary: stale.summary, evidence: stale.evidence },
      verification: [],
    },
  ]);
});
