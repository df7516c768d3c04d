import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedOtherwise, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { securitySoftware } from './index.ts';
import { PROGRAMS } from './programs.ts';

const inCase = (name: string) => readCase('linux/security-software', name);
const PS = 'ps -e -o comm=';

/** The bundle with a process of this name on every node. */
function running(bundle: Bundle, name: string): Bundle {
  return withReading(
    bundle,
    PS,
    said((stdout) => `${stdout}${name}\n`),
  );
}

test('what runs where everything works is nobody’s business', () => {
  expect(evaluated(securitySoftware, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
  expect(findingsIn(securitySoftware, running(inCase('healthy'), 'kesl'))).toEqual([]);
});

test('where connections fail it is named, with them', () => {
  const lost = (from: number, to: number) => ({
    where: `node-${from}`,
    source: `node-to-node tcp node-${from} > node-${to} 10.28.87.${58 + to}`,
    text: 'timeout, no answer to 3 attempts',
  });
  expect(findingsIn(securitySoftware, inCase('between-two-nodes'))).toEqual([
    {
      check: 'security-software',
      code: 'security-software',
      layer: 'L4',
      severity: 'info',
      certainty: 'suspect',
      partial: false,
      entity: { kind: 'Node', name: 'node-2' },
      at: [],
      harms: [],
      summary:
        'Kaspersky Endpoint Security runs on node-2, where 2 connections fail; such software can end connections without a rule that shows it',
      advice:
        'If nothing else explains it, stop kesl on node-2 alone and run the check again; some leave their kernel module behind until a reboot. Have pod and node networks excepted in it.',
      evidence: [{ where: 'node-2', source: PS, text: 'running: kesl' }, lost(2, 3), lost(3, 2)],
    },
  ]);
});

test('of a fleet that all runs it, only nodes with failing connections are named', () => {
  const nodes = findingsIn(securitySoftware, running(inCase('between-two-nodes'), 'falcon-sensor')).map(
    ({ entity }) => entity.name,
  );
  expect(nodes).toEqual(['node-2', 'node-3']);
});

test('a ping that is filtered, an error of the target itself and what is forbidden are no failing connections', () => {
  const bundle = running(inCase('healthy'), 'kesl');
  const ping = probedOtherwise(bundle, [/ ping node-1 > node-2/, { status: 'fail', delivered: 0, how: 'timeout' }]);
  const refused = probedOtherwise(bundle, [/ tcp node-1 > node-2/, { status: 'fail', delivered: 0, how: 'refused' }]);
  const denied = probedOtherwise(bundle, [/ tcp node-1 > node-2/, { status: 'fail', delivered: 0, how: 'timeout' }]).map(
    ({ probe, result }) => ({ probe: { ...probe, expect: 'deny' as const }, result }),
  );
  expect([ping, refused, denied].map((probed) => findingsIn(securitySoftware, bundle, probed))).toEqual([[], [], []]);
});

test('names are as the kernel keeps them', () => {
  expect(Object.keys(PROGRAMS).filter((name) => name.length > 15)).toEqual([]);
});
