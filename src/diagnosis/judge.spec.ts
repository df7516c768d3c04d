import { expect, test } from 'vitest';
import { GARBAGE, INCOMPLETE, readCase } from '../../test/fixtures.ts';
import type { Bundle } from '../model/bundle.ts';
import type { Evidence } from '../model/evidence.ts';
import { judge } from './judge.ts';

/** Ways in which evidence is damaged; null takes it away. */
const DAMAGE: Readonly<Record<string, (item: Evidence) => Evidence | null>> = {
  ...INCOMPLETE,
  ...Object.fromEntries(
    GARBAGE.map((text) => [`says ${JSON.stringify(text)}`, (item: Evidence) => ({ ...item, stdout: text, stderr: text })]),
  ),
  'says nothing': (item) => ({ ...item, stdout: '', stderr: '' }),
  missing: () => null,
};

function damaged(bundle: Bundle, node: string, key: string, damage: (item: Evidence) => Evidence | null): Bundle {
  const evidence = bundle.evidence.map((own) => {
    const { [key]: item, ...others } = own.items;
    const left = own.node === node && item !== undefined ? damage(item) : item;
    return { ...own, items: left === undefined || left === null ? others : { ...others, [key]: left } };
  });
  return { ...bundle, evidence };
}

test.each(['icmp-filtered', 'path-mtu-black-hole'])(
  'no evidence of a probe can be damaged without the verdict saying so, and damage is no symptom: %s',
  (check) => {
    const healthy = readCase(`mesh/${check}`, 'healthy');
    expect(judge(healthy).status).toBe('healthy');
    const keys = healthy.evidence.flatMap(({ node, items }) => Object.keys(items).map((key) => ({ node, key })));
    const hidden = keys.flatMap(({ node, key }) =>
      Object.entries(DAMAGE).flatMap(([way, damage]) => {
        const { status, symptoms, notChecked } = judge(damaged(healthy, node, key, damage));
        return status === 'inconclusive' && symptoms.length === 0 && notChecked.length > 0 ? [] : [{ node, key, way, status }];
      }),
    );
    expect(hidden).toEqual([]);
  },
);
