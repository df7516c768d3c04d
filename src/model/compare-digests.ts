import type { DigestChanges, DigestFacts, DigestIssue, TrendPoint } from './digest.ts';
import { entityKey } from './entity.ts';
import { mayHide } from './gaps.ts';
import { oneLine, shorten } from './text.ts';
import type { NotChecked, Verdict, VerdictFinding } from './verdict.ts';

/** How many issues are kept to be compared with; a verdict with more is compared as far as they go. */
const MOST_ISSUES = 400;
const SUMMARY = 300;

/** What a verdict tells of, each with the key by which it is known again. `at` is when the run began, in ms. */
export function issuesOf(verdict: Verdict, at: number): { readonly issues: DigestIssue[]; readonly cut: boolean } {
  const issue = (
    kind: DigestIssue['kind'],
    key: string,
    rest: Pick<DigestIssue, 'layer' | 'summary' | 'places'>,
  ): DigestIssue => ({
    key: shorten(`${kind === 'gap' ? 'gap' : kind === 'located' ? 'located' : 'finding'} ${key}`, 500),
    kind,
    layer: rest.layer,
    summary: shorten(oneLine(rest.summary), SUMMARY),
    places: [...rest.places],
    since: at,
    unseen: false,
  });
  const all = [
    ...verdict.causes.map((cause) =>
      issue('cause', `${cause.code} ${entityKey(cause.entity)}`, {
        layer: cause.layer,
        summary: cause.summary,
        places: placesOf(cause),
      }),
    ),
    ...verdict.located.map((located) =>
      issue('located', `${located.layer} ${located.segment} ${located.class}`, {
        layer: located.layer,
        summary: `Cause not found, ${located.segment}: ${located.class}`,
        places: [],
      }),
    ),
    ...verdict.risks.map((risk) =>
      issue('risk', `${risk.code} ${entityKey(risk.entity)}`, {
        layer: risk.layer,
        summary: risk.summary,
        places: placesOf(risk),
      }),
    ),
    ...verdict.notChecked.map((gap) =>
      issue('gap', `${gap.what} ${gap.where}`, {
        layer: null,
        summary: `${gap.where}: ${gap.what} (${gap.reason})`,
        places: gap.where.split(', '),
      }),
    ),
  ];
  // What fails comes first, so that it is compared even where there is too much of everything.
  const unique = [...new Map(all.toReversed().map((one) => [one.key, one])).values()].toReversed();
  return { issues: unique.slice(0, MOST_ISSUES), cut: unique.length > MOST_ISSUES };
}

/**
 * What is different between a digest and the last one, and what the next one is to be compared with. Something that is not seen
 * any more counts as resolved only when everything that would show it was looked at; otherwise it is carried on as unseen.
 * Pure.
 */
export function compareDigests(
  previous: DigestFacts | null,
  verdict: Verdict,
  at: number,
): { readonly changes: DigestChanges; readonly issues: DigestIssue[]; readonly cut: boolean } {
  const now = issuesOf(verdict, at);
  const before = new Map((previous?.issues ?? []).map((one) => [one.key, one]));
  const current = new Set(now.issues.map(({ key }) => key));
  const kept = now.issues.map((one) => {
    const known = before.get(one.key);
    // A risk that has become a cause is news, and so is the other way round.
    const isNew = known === undefined || (known.kind === 'risk') !== (one.kind === 'risk');
    return { isNew, issue: isNew ? one : { ...one, since: known.since } };
  });
  const gone = [...before.values()].filter(({ key }) => !current.has(key));
  const unseen = gone
    .filter((one) => now.cut || (previous?.cut ?? false) || isHidden(one, verdict.notChecked))
    .map((one) => ({ ...one, unseen: true }));
  const carried = new Set(unseen.map(({ key }) => key));
  return {
    changes: {
      fresh: kept.filter(({ isNew }) => isNew).map(({ issue }) => issue),
      resolved: gone.filter(({ key }) => !carried.has(key)),
      open: kept.filter(({ isNew }) => !isNew).map(({ issue }) => issue),
      unseen,
    },
    issues: [...kept.map(({ issue }) => issue), ...unseen].slice(0, MOST_ISSUES),
    cut: now.cut || kept.length + unseen.length > MOST_ISSUES,
  };
}

/** A digest's place in the row of them. */
export function trendPointOf(verdict: Verdict, at: number): TrendPoint {
  const plane = verdict.mesh?.planes.find(({ of }) => of === 'pods') ?? verdict.mesh?.planes[0];
  return {
    at,
    status: verdict.status,
    failed: verdict.symptoms.length,
    medianMs: plane?.medianMs ?? null,
    p95Ms: plane?.p95Ms ?? null,
  };
}

/** Where a finding is read: on a node. What concerns anything else may show anywhere. */
function placesOf({ entity, remedy }: VerdictFinding): string[] {
  return entity.kind === 'Node' ? [...new Set([entity.name, remedy?.node ?? entity.name])] : [];
}

/** Whether something that was not checked may hide it. */
function isHidden(issue: DigestIssue, gaps: readonly NotChecked[]): boolean {
  return issue.kind !== 'gap' && mayHide(gaps, issue.places);
}
