import { LAYERS } from '../../model/layer.ts';
import type { Progress } from '../../model/progress.ts';
import { type RunRequest, requestWords, type Status, type Verdict } from '../../model/verdict.ts';
import { code, joined, type Mrkdwn, md, plain } from './markup.ts';

const STATE_SIGNS = { ok: md`✅`, fail: md`❌`, unknown: md`❔`, 'not-checked': md`➖`, checking: md`⏳` };

/** The sign and the word of a status: never the colour alone. */
export const STATUS_WORDS: Record<Status, { readonly sign: string; readonly word: string; readonly title: Mrkdwn }> = {
  healthy: { sign: '🟢', word: 'Healthy', title: md`🟢 *Healthy*` },
  degraded: { sign: '🟠', word: 'Degraded', title: md`🟠 *Degraded*` },
  failed: { sign: '🔴', word: 'Failed', title: md`🔴 *Failed*` },
  inconclusive: { sign: '⚪', word: 'Inconclusive', title: md`⚪ *Inconclusive*` },
};

/** `L2 ✅  L3 ❌ …`: the layers in their order. A layer that is absent was not looked at (yet). */
export function layerStrip(layers: Verdict['layers'] | Progress['layers']): Mrkdwn {
  return joined(
    LAYERS.map((layer) => md`${code(layer)} ${STATE_SIGNS[layers[layer] ?? 'not-checked']}`),
    '  ',
  );
}

/** What was asked: `cluster prod`, `node node-3 of cluster prod` or `pod default/web-1 of cluster prod`. */
export function subjectOf(request: RunRequest, cluster: string): Mrkdwn {
  if (request.kind === 'cluster') return md`cluster ${code(cluster, 70)}`;
  const name = request.kind === 'node' ? request.node : `${request.namespace}/${request.pod}`;
  return md`${plain(request.kind)} ${code(name, 330)} of cluster ${code(cluster, 70)}`;
}

/** The same as plain text. */
export function subjectText(request: RunRequest, cluster: string): string {
  return request.kind === 'cluster' ? `cluster ${cluster}` : `${requestWords(request)} of cluster ${cluster}`;
}

/** `3.9 s`, `2 min 5 s`. */
export function duration(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`;
}

/** `1 node`, `3 nodes`. */
export function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}
