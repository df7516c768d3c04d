import { expect, test } from 'vitest';
import { evidence } from '../../../test/filter-evidence.ts';
import { simulate } from '../../../test/simulate.ts';
import type { PodNamespace, PodState } from '../../model/wire/agent.ts';
import { ageOf, parsePodCounters, parsePods, podsOn } from './pods.ts';
import { POD_COUNTERS, PODS, readingKey } from './readings.ts';

const process = { pid: 7, start: 100, ageS: 60, comm: 'pause', exe: 'pause', uid: 'uid-coredns-1', container: null };
const namespace: PodNamespace = {
  netns: 'net:[2]',
  pid: 7,
  groups: [
    { processes: 1, oldest: { ...process, pid: 9, uid: null, ageS: 20 } },
    { processes: 1, oldest: process },
  ],
  listeners: [],
  listening: { overflows: 0, drops: 0 },
  addresses: [],
  routes: [],
  neighbours: [],
  devices: [],
  resolv: null,
  unread: [],
};
const state: PodState = { namespaces: [namespace], backlogs: {}, cut: [] };
const printed = (value: unknown) => evidence(['pods'], JSON.stringify(value));

test('the readings are filed by what is read', () => {
  expect([readingKey(POD_COUNTERS), readingKey(PODS)]).toEqual([
    "pods: counters of every pod's network namespace",
    "pods: state of every pod's network namespace",
  ]);
});

test('what the agent read, and nothing that is not whole', () => {
  expect(parsePods(printed(state))).toEqual({ outcome: 'ok', facts: state });
  expect(parsePods(printed({ ...state, cut: ['more than 512 network namespaces'] }))).toEqual({
    outcome: 'unknown',
    reason: 'pods: more than 512 network namespaces',
  });
  expect(parsePods(printed({ ...state, namespaces: [{ ...namespace, unread: ['arp', 'route'] }] }))).toEqual({
    outcome: 'unknown',
    reason: 'the pod of process 7: arp, route could not be read',
  });
  const counters = { counters: { 'net:[2]': { overflows: 1, drops: 2 } }, cut: [] };
  expect(parsePodCounters(printed(counters))).toEqual({ outcome: 'ok', facts: counters });
  expect(parsePodCounters(printed({ ...counters, cut: ['x'] })).outcome).toBe('unknown');
  expect(parsePodCounters(evidence(['pods'], '', { exitCode: null, fault: 'failed', stderr: 'no /proc' }))).toEqual({
    outcome: 'unknown',
    reason: 'pods: no /proc',
  });
});

test('a pod has the namespace of its processes, a static one that of its address; those of the host have none', () => {
  const { inventory } = simulate(2);
  const [coredns, other] = inventory.pods.filter(({ node }) => node === 'node-1');
  const mirror = { ...namespace, netns: 'net:[3]', groups: [], addresses: [other?.ip ?? ''] };
  const read = { ...state, namespaces: [namespace, mirror] };
  const found = (pods: typeof inventory.pods) =>
    podsOn(read, { ...inventory, pods }, 'node-1').map(({ pod, namespace: { netns } }) => [pod.name, netns]);
  expect(found(inventory.pods)).toEqual([
    [coredns?.name, 'net:[2]'],
    [other?.name, 'net:[3]'],
  ]);
  expect(found(inventory.pods.map((pod) => ({ ...pod, hostNetwork: true })))).toEqual([]);
  expect(found(inventory.pods.map((pod) => ({ ...pod, phase: 'Succeeded' })))).toEqual([]);
});

test('a pod is as old as its oldest process', () => {
  expect([ageOf(namespace), ageOf({ ...namespace, groups: [] })]).toEqual([60, 0]);
});
