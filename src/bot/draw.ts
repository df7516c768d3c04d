import { digestPicture } from '../formatters/picture/picture.ts';
import { renderPng } from '../formatters/picture/png.ts';
import { describeSlot } from '../model/schedule.ts';
import type { DigestStore } from '../store/digests.ts';
import type { RunStore } from '../store/runs.ts';

/** A picture as it is uploaded. `alt` is for whoever does not see it. */
export type Drawing = { readonly png: Uint8Array; readonly alt: string; readonly title: string };

/** Draws the picture of a run, or null where there is nothing (any more) to draw. `ref` is `CLUSTER/RUN`. */
export type Draw = (ref: string) => Promise<Drawing | null>;

/** Makes pictures from what is stored: only the order to draw one is in the outbox, not the picture. */
export function createDraw(
  stores: (cluster: string) => { readonly runs: RunStore; readonly digests: DigestStore } | undefined,
): Draw {
  return async (ref) => {
    const [cluster = '', run = ''] = ref.split('/');
    const store = stores(cluster);
    const [record, verdict] = await Promise.all([store?.digests.made(run) ?? null, store?.runs.verdict(run) ?? null]);
    if (store === undefined || record === null || verdict?.ok !== true || verdict.value === null) return null;
    const { timezone } = record.schedule;
    const picture = digestPicture({
      cluster,
      when: describeSlot(record.at, timezone),
      timezone,
      theme: record.theme,
      mesh: verdict.value.mesh,
      trend: await store.digests.trend(record.digest, record.at),
    });
    return picture === null ? null : { png: await renderPng(picture), alt: picture.alt, title: `Network of ${cluster}` };
  };
}
