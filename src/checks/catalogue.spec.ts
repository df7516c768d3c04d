import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CATALOGUE, casesOf, evaluated, findingsIn, GARBAGE, INCOMPLETE, readCase, withReading } from '../../test/fixtures.ts';
import { FAULTS } from '../../test/lab/faults/index.ts';
import { openHandle } from '../../test/lab/handle.ts';
import { planTopology } from '../../test/lab/topology.ts';
import { slackFaults } from '../../test/slack-limits.ts';
import { readVerdict } from '../../test/verdicts.ts';
import { judge } from '../diagnosis/judge.ts';
import { readingMoments } from '../diagnosis/tasks.ts';
import { threadReplies } from '../formatters/slack/thread.ts';
import { verdictMessage } from '../formatters/slack/verdict.ts';
import { formatTerminal } from '../formatters/terminal.ts';
import type { Evidence } from '../model/evidence.ts';
import { Finding } from '../model/finding.ts';
import type { Verdict, VerdictFinding } from '../model/verdict.ts';
import { REMEDIES } from '../remedies/index.ts';
import { CHECKS, PROBES } from './index.ts';
import type { Readings } from './kit/check.ts';

/*
 * What holds for the whole catalogue: that its map, folders, documents, fixtures and lab faults belong together, and that
 * no check calls healthy what it could not read.
 */

const CHECK_HEADINGS = ['Why it happens', 'How it looks to users', 'False positives', 'Source'];
const PROBE_HEADINGS = ['What a failure says', 'False positives', 'Source'];

/** Remedies that findings offer and that are still to be built; the verdict names them, no button does. */
const REMEDIES_TO_COME = new Set<string>([]);

/** Codes that no lab can bring about, with the reason. */
const WITHOUT_LAB_FAULT: Readonly<Record<string, string>> = {
  'neighbour-table-full':
    'the neighbour table is one for all namespaces: filling it would cut off the machine that the lab is on',
  'neighbour-table-pressure': 'likewise',
  'packets-dropped-by-cpu':
    'the queues are those of the processors, for all namespaces: filling them would starve the machine; recorded output is in the fixtures',
  'provider-limit-exceeded': "the counters are those of a cloud's network card; its recorded output is in the fixtures",
};

/** Readings that a check can do without, with the reason; what they would have shown is in doubt then, never healthy. */
const DISPENSABLE: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'filter-rule-drops': {
    'nft list chains netdev': 'without the names of the devices, rules that hang on them make suspects',
  },
  'egress-fails': {
    'nft list chains netdev': 'chains that hang on devices translate no addresses',
  },
  'foreign-firewall': {
    'nft list chains netdev': 'without the names of the devices, rules that hang on them make suspects',
    'ps -e -o comm=': 'the rules show the firewall, its process is only cited beside them',
  },
  'neighbour-table-full': {
    'neighbour show @before': 'only the entries after the sweep are judged; the reading is shared with stale-neighbour',
  },
  'neighbour-table-was-full': {
    'ntable show name arp_cache @before':
      'the table is cited as it is after the sweep; the reading is shared with neighbour-table-full',
  },
  'stale-neighbour': {
    "arping -D of the node's own address": 'only an entry that another machine really answers for is left out by it',
  },
  'rp-filter-drops': {
    'neighbour show @before': 'only the entries after the sweep are asked; the reading is shared with stale-neighbour',
  },
  'route-leads-astray': {
    'neighbour show @before': 'only the entries after the sweep are asked; the reading is shared with stale-neighbour',
  },
  'peer-entries-wrong': {
    'neighbour show @before': 'only the entries after the sweep are judged; the reading is shared with stale-neighbour',
  },
};

const NO_OUTPUT: Evidence = { argv: [], exitCode: 0, stdout: '', stderr: '', truncated: false, startedMs: 0, durationMs: 0 };

const checks = Object.entries(CHECKS);
const entries = [...checks, ...Object.entries(PROBES)];

function directories(path: string): readonly string[] {
  return readdirSync(join(CATALOGUE, path), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
}

test('the maps of checks and probes are the folders that there are', () => {
  const folders = directories('.')
    .filter((area) => area !== 'kit')
    .flatMap((area) => directories(area).map((id) => `${area}/${id}`));
  expect(entries.map(([folder]) => folder).toSorted()).toEqual(folders.toSorted());
  expect(entries.filter(([folder, { id }]) => folder.split('/')[1] !== id)).toEqual([]);
});

test.each(entries.map(([folder]) => folder))('%s has its code, its tests and its readme', (folder) => {
  const missing = ['index.ts', 'index.spec.ts', 'readme.md'].filter((file) => !existsSync(join(CATALOGUE, folder, file)));
  const readme = readFileSync(join(CATALOGUE, folder, 'readme.md'), 'utf8');
  const wanted = folder in CHECKS ? CHECK_HEADINGS : PROBE_HEADINGS;
  const headings = [...readme.matchAll(/^## (.+)$/gm)].flatMap(([, heading = '']) => (wanted.includes(heading) ? [heading] : []));
  expect({ missing, headings }).toEqual({ missing: [], headings: wanted });
});

test('ids and codes are in kebab case, and each is there once', () => {
  const ids = entries.map(([, { id }]) => id);
  const codes = checks.flatMap(([, check]) => Object.keys(check.codes));
  expect([...ids, ...codes].filter((name) => !/^[a-z]+(-[a-z0-9]+)*$/.test(name))).toEqual([]);
  expect({ ids: new Set(ids).size, codes: new Set(codes).size }).toEqual({ ids: ids.length, codes: codes.length });
});

describe.each(checks)('%s', (folder, check) => {
  const cases = casesOf(folder).map((name) => ({ name, bundle: readCase(folder, name) }));
  const healthy = readCase(folder, 'healthy');
  const found = cases.map(({ bundle }) => findingsIn(check, bundle));
  const codes = Object.keys(check.codes).toSorted();

  test('is healthy where all is well', () => {
    expect(findingsIn(check, healthy)).toEqual([]);
  });

  test('has a case for each of its codes, and tells no other', () => {
    expect([...new Set(found.flat().map(({ code }) => code))].toSorted()).toEqual(codes);
  });

  test('says where its cases come from', () => {
    const source = readFileSync(join(CATALOGUE, folder, 'fixtures/readme.md'), 'utf8');
    const bundles = cases.filter(({ name }) => existsSync(join(CATALOGUE, folder, 'fixtures', name, 'bundle.json')));
    expect(bundles.filter(({ name }) => !source.includes(`| \`${name}\` |`))).toEqual([]);
  });

  test('has its codes in the documents', () => {
    const document = readFileSync(join(CATALOGUE, '../../docs/checks', `${check.id}.md`), 'utf8');
    expect(codes.filter((code) => !document.includes(`\`${code}\``))).toEqual([]);
  });

  test('has a lab fault for each of its codes', () => {
    const lab = openHandle({ topology: planTopology(4), nodes: {} } as Parameters<typeof openHandle>[0]);
    const expected = Object.values(FAULTS).flatMap((fault) => {
      const { codes: causes, risks = [] } = fault.expects(lab, { node: 'node-2', peer: 'node-3' });
      return [...causes.map(({ code }) => code), ...risks];
    });
    expect(codes.filter((code) => expected.includes(code) === code in WITHOUT_LAB_FAULT)).toEqual([]);
  });

  test('makes whole findings about things that are there', () => {
    const cluster = { name: healthy.inventory.cluster };
    const there = new Set(
      cases.flatMap(({ bundle: { inventory, plan } }) => {
        const { nodes, pods, services, policies } = inventory;
        const workloads = pods.flatMap(({ workload }) => workload ?? []);
        const outside = plan.probes.map(({ target }) => target);
        return [...nodes, ...pods, ...services, ...policies, ...workloads, ...outside, cluster].map(({ name }) => name);
      }),
    );
    for (const finding of found.flat()) {
      expect(Finding.parse(finding)).toEqual(finding);
      expect(there).toContain(finding.entity.name);
      expect(finding.evidence).not.toEqual([]);
      expect(finding.severity === 'info' || finding.at.length > 0).toBe(true);
    }
  });

  test('offers remedies that exist, with parameters that they take, or that are to come', () => {
    const wrong = found.flat().flatMap(({ remedy }) => {
      if (remedy === undefined) return [];
      const known = REMEDIES[remedy.id];
      const isRight = known === undefined ? REMEDIES_TO_COME.has(remedy.id) : known.params.safeParse(remedy.params).success;
      return isRight ? [] : [remedy];
    });
    expect(wrong).toEqual([]);
  });

  const readings = Object.values(check.collect as Readings).flatMap((reading) => readingMoments(reading).map(({ key }) => key));

  test.each(readings)('does not call a node healthy whose reading is not complete: %s', (key) => {
    const dispensable = Object.keys(DISPENSABLE[check.id] ?? {}).some((part) => key.endsWith(part));
    const ways = {
      ...INCOMPLETE,
      ...Object.fromEntries(GARBAGE.map((stdout) => [JSON.stringify(stdout), (item) => ({ ...item, stdout })])),
    } satisfies typeof INCOMPLETE;
    const told = (change: Parameters<typeof withReading>[2], bundle = healthy) => {
      const { findings, acquitted, gaps } = evaluated(check, withReading(bundle, key, change, 'node-2'));
      return { findings, acquitted: acquitted.filter(({ place }) => place === 'node/node-2'), gaps };
    };
    const gap = { findings: [], acquitted: [], gaps: [{ what: check.id, where: 'node-2', reason: expect.stringMatching(/\S/) }] };
    const asHealthy = told((item) => item);
    expect(Object.fromEntries(Object.entries(ways).map(([way, change]) => [way, told(change)]))).toEqual(
      Object.fromEntries(Object.keys(ways).map((way) => [way, dispensable ? asHealthy : gap])),
    );
    // Of a node that gave nothing at all its absence is told, not every check's.
    const others = {
      ...healthy,
      evidence: healthy.evidence.map((node) => ({ ...node, items: { ...node.items, other: NO_OUTPUT } })),
    };
    expect(told(() => null, others)).toEqual(gap);
  });

  test('without the evidence of its probes it finds nothing, and nobody calls that healthy', () => {
    for (const { bundle } of cases.filter(({ bundle: { plan } }) => plan.probes.length > 0)) {
      const blind = { ...bundle, evidence: bundle.evidence.map((node) => ({ ...node, items: {} })) };
      expect(evaluated(check, blind).findings).toEqual([]);
      const { status, causes, risks, notChecked } = judge(blind);
      // What was not planned, since the node's tables have no room, is told as well.
      // So is a session that broke off.
      const broken = blind.evidence.some(({ fault }) => fault !== undefined) ? ['everything that is read on the node'] : [];
      const kinds = new Set([
        ...bundle.plan.probes.map((probe) => probe.check),
        ...bundle.plan.omitted.map(({ what }) => what),
        ...broken,
      ]);
      const told = new Set(notChecked.map(({ what }) => what.replace(/ \(\d+ probes?\)$/, '')));
      expect({ status, causes, risks, told }).toEqual({ status: 'inconclusive', causes: [], risks: [], told: kinds });
    }
  });

  test('judges the same evidence in the same way, and changes none of it', () => {
    for (const { bundle } of cases) {
      const frozen = freeze(structuredClone(bundle));
      const first = evaluated(check, frozen);
      expect(evaluated(check, frozen)).toEqual(first);
      expect(frozen).toEqual(bundle);
    }
  });

  test('has findings that Slack and a terminal can show', () => {
    for (const findings of found.filter(({ length }) => length > 0)) {
      const shown = findings.map(asShown);
      const verdict: Verdict = { ...readVerdict('healthy'), status: 'failed', layer: check.layer, causes: shown, risks: shown };
      const run = { ref: 'lab/r1', cluster: 'lab', request: verdict.run.request, requestedBy: 'U0000000R' };
      const messages = [
        verdictMessage(verdict, run, { mode: 'off', proposals: [] }),
        ...threadReplies(verdict).map(({ message }) => message),
      ];
      expect(messages.flatMap(slackFaults)).toEqual([]);
      const text = formatTerminal(verdict, { color: false, columns: 100 });
      expect(text.match(/[^\n\P{Cc}]|\p{Cf}/gu)).toBeNull();
      expect(findings.filter(({ code }) => !text.includes(code))).toEqual([]);
    }
  });
});

test('no list of exceptions names what is no exception any more', () => {
  const codes = checks.flatMap(([, check]) => Object.keys(check.codes));
  const ids = checks.map(([, { id }]) => id);
  expect(Object.keys(WITHOUT_LAB_FAULT).filter((code) => !codes.includes(code))).toEqual([]);
  expect(Object.keys(DISPENSABLE).filter((id) => !ids.includes(id))).toEqual([]);
  expect([...REMEDIES_TO_COME].filter((id) => id in REMEDIES)).toEqual([]);
});

/** A finding as a verdict shows it. */
function asShown({ at: _at, harms: _harms, certainty: _certainty, partial: _partial, ...finding }: Finding): VerdictFinding {
  return { ...finding, explains: [] };
}

/** The value, frozen to its depths, so that whoever changes it throws. */
function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) for (const item of Object.values(Object.freeze(value))) freeze(item);
  return value;
}
