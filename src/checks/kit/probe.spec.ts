import { expect, test } from 'vitest';
import { plannedLines, probeContext } from '../../../test/probe-context.ts';
import { Probe } from '../../model/probe.ts';
import { PROBES } from '../index.ts';
import { fromNode, probe, probePort } from './probe.ts';

const kind = { id: 'some-kind', layer: 'L3' } as const;
const target = { kind: 'Node', name: 'node-2' } as const;
const subject = { kind: 'Node', name: 'node-1' } as const;
const { sources } = probeContext();
const [source] = sources;
if (source === undefined) throw new Error('no source');

test('a probe follows from what is particular to it', () => {
  const draft = { method: 'ping', subject, target, from: fromNode(source), on: 'node-2', ip: '10.28.0.12' } as const;
  expect(
    probe(kind, { ...draft, bytes: 1500, sibling: 'other', ifSilent: true, denied: { policy: 'ns/p', direction: 'ingress' } }),
  ).toEqual({
    id: 'some-kind ping 1500 bytes node-1 > node-2 10.28.0.12',
    check: 'some-kind',
    round: 1,
    method: 'ping',
    layer: 'L3',
    subject,
    target,
    from: { node: 'node-1', pod: null, ip: '10.28.0.11' },
    to: { node: 'node-2', ip: '10.28.0.12' },
    packet: { proto: 'icmp', src: '10.28.0.11', dst: '10.28.0.12', size: 1500, df: true, state: 'new' },
    count: 3,
    bytes: 1500,
    df: true,
    sibling: 'other',
    ifSilent: true,
    expect: 'deny',
    deniedBy: 'ns/p',
  });
  expect(
    probe(kind, {
      ...draft,
      method: 'dns',
      layer: 'DNS',
      port: 53,
      count: 1,
      name: 'a.test',
      listens: false,
      receiver: 'node-2',
    }),
  ).toEqual({
    id: 'some-kind dns node-1 > node-2 10.28.0.12',
    check: 'some-kind',
    round: 1,
    method: 'dns',
    layer: 'DNS',
    subject,
    target,
    from: { node: 'node-1', pod: null, ip: '10.28.0.11' },
    to: { node: 'node-2', ip: '10.28.0.12', port: 53 },
    packet: { proto: 'udp', src: '10.28.0.11', dst: '10.28.0.12', dport: 53, state: 'new' },
    count: 1,
    name: 'a.test',
    receiver: 'node-2',
    listens: false,
    expect: 'reach',
  });
});

test('netcheck’s own pod listens on the TCP port that it says', () => {
  const [pod] = probeContext().inventory.pods.filter(({ name }) => name === 'netcheck-probe-1');
  if (pod === undefined) throw new Error('no pod');
  const udp = { port: 5353, protocol: 'UDP' as const };
  expect([
    probePort(source.node, { ...pod, ports: [udp, ...pod.ports] }),
    probePort(source.node, { ...pod, ports: [udp] }),
  ]).toEqual([
    { port: 7410, listens: true },
    { port: 10250, listens: false },
  ]);
});

test('every probe of the catalogue is whole, has an id of its own, and a sibling that asks the same of the same', () => {
  const context = probeContext();
  const kinds = Object.values(PROBES);
  const planned = kinds.flatMap((each) => each.plan(context));
  const probes = [
    ...planned,
    ...context.pairs.flatMap(([from, to]) =>
      kinds.flatMap((each) => [each.oneWay?.(from, to, context) ?? [], each.followUp?.(from, to) ?? []].flat()),
    ),
  ];
  const byId = new Map(probes.map((each) => [each.id, each]));
  expect(byId.size).toBe(probes.length);
  for (const each of probes) {
    expect(Probe.parse(each)).toEqual(each);
    const sibling = each.sibling === undefined ? each : byId.get(each.sibling);
    expect(sibling).toMatchObject({ from: each.from, subject: each.subject, target: each.target });
    expect(sibling?.to.ip).toBe(each.to.ip);
  }
});

test('planning the same twice gives the same', () => {
  for (const each of Object.values(PROBES)) expect(plannedLines(each)).toEqual(plannedLines(each));
});
