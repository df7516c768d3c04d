import type { KnownBlock } from '@slack/types';
import type { RemedyProposal } from '../../model/remedy.ts';
import type { Verdict } from '../../model/verdict.ts';
import { button, buttons, context } from './blocks.ts';
import { code, md, plain } from './markup.ts';
import { ACTIONS } from './run.ts';

/** Whether remedies can be asked for: they are off, on but nobody may approve any, or on. */
export type RemedyMode = 'off' | 'nobody' | 'on';

const SHOWN_BUTTONS = 5;

/** The buttons by which a verdict's remedies are requested, or why there are none. `ref` is `CLUSTER/RUN`. */
export function offered(
  verdict: Verdict,
  run: { readonly ref: string },
  remedies: { readonly mode: RemedyMode; readonly proposals: readonly RemedyProposal[] },
): KnownBlock[] {
  const { mode, proposals } = remedies;
  const exists = proposals.length > 0 || verdict.causes.some((cause) => cause.remedy !== undefined);
  if (!exists) return [];
  if (mode === 'off') return [context(md`netcheck knows a remedy, but remedies are switched off (${code('remedies.enabled')}).`)];
  if (proposals.length === 0) return [];
  if (mode === 'nobody')
    return [context(md`netcheck knows a remedy, but nobody may approve one (${code('access.approve')} is empty).`)];
  const shown = proposals.slice(0, SHOWN_BUTTONS);
  return [
    buttons(
      'remedies',
      shown.map((proposal, index) =>
        button({
          action: `${ACTIONS.request}:${index}`,
          label: proposal.title,
          value: `${run.ref}/${proposal.id}`,
          style: 'primary',
        }),
      ),
    ),
    ...(proposals.length > SHOWN_BUTTONS
      ? [context(md`${plain(proposals.length - SHOWN_BUTTONS)} more remedies: mend these first, then check again.`)]
      : []),
  ];
}
