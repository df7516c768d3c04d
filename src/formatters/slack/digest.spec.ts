import type { KnownBlock } from '@slack/types';
import naughty from 'big-list-of-naughty-strings/blns.json' with { type: 'json' };
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { slackFaults } from '../../../test/slack-limits.ts';
import { plansFor, readVerdict, VERDICTS } from '../../../test/verdicts.ts';
import type { Digest, DigestIssue, DigestRecord } from '../../model/digest.ts';
import type { HistoryEntry } from '../../model/wire/digest.ts';
import { section } from './blocks.ts';
import { digestLine, digestMessage, digestNote, draftAnswer } from './digest.ts';
import { historyAnswer } from './history.ts';

const SCHEDULE = { cron: '0 9 * * 1-5', timezone: 'Europe/Berlin' };
const at = Date.UTC(2026, 10, 23, 8, 0, 4);

function record(more: Partial<DigestRecord> = {}): DigestRecord {
  return {
    digest: 'd2',
    number: 2,
    run: 'r1',
    channel: 'C1',
    schedule: SCHEDULE,
    onlyChanges: false,
    theme: 'dark',
    slot: at - 4_000,
    at,
    missed: 0,
    askedBy: null,
    status: 'healthy',
    reason: null,
    previousAt: at - 86_400_000,
    changes: { fresh: [], resolved: [], open: [], unseen: [] },
    remedies: [],
    changed: false,
    picture: false,
    posted: true,
    ...more,
  };
}

function issue(kind: DigestIssue['kind'], summary: string, more: Partial<DigestIssue> = {}): DigestIssue {
  return {
    key: summary,
    kind,
    layer: kind === 'gap' ? null : 'L3',
    summary,
    places: [],
    since: at - 86_400_000,
    unseen: false,
    ...more,
  };
}

const off = { mode: 'off' as const, proposals: [] };
const readable = (blocks: readonly KnownBlock[]): string =>
  blocks
    .flatMap((block) =>
      block.type === 'section'
        ? [block.text?.text]
        : block.type === 'context'
          ? block.elements.map((one) => ('text' in one ? one.text : ''))
          : [],
    )
    .join('\n');

test('healthy and unchanged is one line', () => {
  const { text, blocks } = digestMessage(record(), readVerdict('healthy'), 'prod', off);
  expect(text).toMatch(/^🟢 Healthy: digest 2 of cluster prod\. The network is healthy/);
  expect([blocks.length, readable(blocks)]).toEqual([
    1,
    expect.stringMatching(
      /^🟢 \*Healthy\* · cluster `prod`: 6 nodes, \d+ probes, every one as it should be · nothing changed since Sun, 22 Nov 2026, 09:00 CET · digest 2 · run `r1`$/,
    ),
  ]);
});

test('everything that a digest can tell, in the order in which somebody needs it', () => {
  const full = record({
    status: 'failed',
    changed: true,
    changes: {
      fresh: [
        issue('cause', 'node-2 does not forward', { since: at }),
        issue('risk', 'a risk', { since: at }),
        issue('gap', 'node-9: all (gone)', { since: at }),
      ],
      resolved: [issue('cause', 'an old cause')],
      open: [issue('located', 'Cause not found, between a and b', { layer: 'L4' }), issue('risk', 'an old risk')],
      unseen: [issue('cause', 'out of sight', { unseen: true })],
    },
    remedies: [
      { title: 'Enable IP forwarding', state: 'done', outcome: 'healed', requestedBy: 'U0000000A', approvedBy: 'U0000000B' },
      { title: 'Flush', state: 'outcome-unknown', outcome: null, requestedBy: 'U0000000A', approvedBy: null },
    ],
  });
  expect(readable(digestMessage(full, readVerdict('ip-forward-off'), 'prod', off).blocks)).toBe(
    [
      '🔴 *Failed* at `L3` · digest of cluster `prod`',
      '*node-2 does not forward packets: its pods are cut off from all other nodes.*',
      '🆕 *New* (1)',
      '• `L3` node-2 does not forward',
      '✅ *Resolved* (1)',
      '• `L3` an old cause _since Sun, 22 Nov 2026, 09:00 CET_',
      '⏳ *Still open* (1)',
      '• `L4` Cause not found, between a and b _since Sun, 22 Nov 2026, 09:00 CET_',
      '❔ *Not known any more*, it could not be looked at (1)',
      '• `L3` out of sight _since Sun, 22 Nov 2026, 09:00 CET_',
      '⚠️ *New risks* (1)',
      '• `L3` a risk',
      '⚠️ *Known risks* (1)',
      '• `L3` an old risk _since Sun, 22 Nov 2026, 09:00 CET_',
      '➖ *Not checked* (1)',
      '• node-9: all (gone)',
      '🔧 *Remedies since the last digest* (2)',
      '• Enable IP forwarding: healed (requested by <@U0000000A>, approved by <@U0000000B>)',
      '• Flush: outcome unknown (requested by <@U0000000A>)',
      '`L2` ✅  `L3` ❌  `L4` ✅  `DNS` ❔  `L7` ✅',
      'netcheck knows a remedy, but remedies are switched off (`remedies.enabled`).',
      'compared with Sun, 22 Nov 2026, 09:00 CET · digest 2 · run `r1`',
    ].join('\n'),
  );
});

test('a late digest says when it was due, and what could not be made before it', () => {
  const late = (more: Partial<DigestRecord>) => readable(digestMessage(record(more), readVerdict('healthy'), 'prod', off).blocks);
  expect(late({ slot: at - 8_000_000 })).toContain('⏰ *Late* by 133 min 20 s: it was due on Mon, 23 Nov 2026, 06:46 CET.');
  expect(late({ slot: at - 8_000_000, missed: 6 })).toContain(
    'CET. ⏰ 6 digests before this one could not be made: netcheck was not running.',
  );
  expect(late({ missed: 100 })).toContain('⏰ More than 100 digests before this one');
  // Whoever asks for one now gets it now.
  expect(late({ askedBy: 'U0000000A', slot: at - 8_000_000 })).not.toContain('⏰');
});

test('without a verdict the reason is told, and nothing is healthy', () => {
  const { text, blocks } = digestMessage(
    record({ status: null, reason: 'no worker took it up within 600 s', changed: true }),
    null,
    'prod',
    off,
  );
  expect(text).toBe('⚪ No verdict: digest 2 of cluster prod. no worker took it up within 600 s');
  expect(readable(blocks)).toContain('Nothing is known about the network from this digest.');
});

test('whatever a verdict says, Slack takes the digest of it, the note, the list and the history', () => {
  const words = fc.oneof(fc.constantFrom(...naughty), fc.string({ unit: 'binary', maxLength: 400 }));
  const issues = fc.array(
    fc.tuple(fc.constantFrom('cause', 'located', 'risk', 'gap'), words).map(([kind, text]) => issue(kind, text.slice(0, 300))),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(issues, issues, words, fc.constantFrom(...VERDICTS), (some, others, text, name) => {
      const verdict = { ...readVerdict(name), headline: text };
      const changes = { fresh: some, resolved: others, open: others, unseen: some };
      const remedies = Array.from({ length: 12 }, () => ({
        title: text,
        state: 'done' as const,
        outcome: text,
        requestedBy: text,
        approvedBy: text,
      }));
      const proposals = plansFor(verdict).map((plan, index) => ({ ...plan, id: `p${index}` }));
      const made = record({ status: verdict.status, changes, remedies, missed: 5, slot: 0, reason: text, changed: true });
      const by = { user: 'U0000000A', team: 'T1' };
      const digest: Digest = {
        id: 'd1',
        channel: 'C1',
        schedule: SCHEDULE,
        onlyChanges: true,
        theme: 'dark',
        by,
        number: 1,
        savedAt: 0,
        auditSeq: 0,
      };
      const entry: HistoryEntry = {
        run: 'r1',
        at,
        channel: 'C0123456789',
        request: { kind: 'node', node: 'n'.repeat(253) },
        by: 'U0000000A',
        digest: null,
        late: true,
        posted: false,
        status: 'failed',
        headline: text.slice(0, 200),
      };
      const page = historyAnswer(
        Array.from({ length: 10 }, () => ({ entry, root: '1764000000.123456' })),
        { cluster: 'c'.repeat(63), page: 2, total: 30, url: 'https://a-workspace-with-a-long-name.slack.com/' },
      );
      const draft = draftAnswer(
        { id: 's1', channel: 'C1', schedule: SCHEDULE, onlyChanges: true, theme: 'dark', by },
        'prod',
        at,
        true,
      );
      const messages = [
        digestMessage(made, verdict, 'prod', { mode: 'on', proposals }),
        digestMessage(made, null, 'prod', off),
        digestNote(digest, 'prod', 'saved', 'U0000000A'),
        { text: 'x', blocks: [section(digestLine(digest, at, null))] },
        { text: 'x', blocks: [page.text, ...(page.more ?? [])].map(section) },
        { text: 'x', blocks: [section(draft.text)] },
      ];
      expect(messages.flatMap(slackFaults)).toEqual([]);
    }),
    { numRuns: Number(process.env['NETCHECK_FUZZ_RUNS'] ?? 200) },
  );
});
