import { code, type Mrkdwn, md, plain } from '../../formatters/slack/markup.ts';
import { absence } from '../../formatters/slack/run.ts';
import { subjectOf } from '../../formatters/slack/words.ts';
import type { RunRequest } from '../../model/verdict.ts';
import { acceptRun } from '../acceptance.ts';
import type { Grant } from '../authorize.ts';
import type { Services } from '../services.ts';

/** The same command of the same person within this time joins the run under way. */
const JOIN_MS = 30_000;

/** Starts a run, for a digest where one is named, and says what became of it. */
export async function startRun(
  grant: Grant<'diagnose'>,
  request: RunRequest,
  services: Services,
  deadline: number,
  digest: { readonly id: string; readonly number: number } | null = null,
): Promise<Mrkdwn> {
  const { limits } = services.config;
  const acceptance = await acceptRun(grant, request, {
    stores: services.stores(grant.cluster),
    producer: services.producer,
    limits: { perUser: limits.runsPerUser, perCluster: limits.runsPerCluster, joinMs: JOIN_MS },
    deadline,
    log: services.log,
    ...(digest === null ? {} : { digest: { id: digest.id, slot: Date.now(), missed: 0, asked: true } }),
  });
  const { user, channel, cluster } = grant;
  if (acceptance.kind === 'queued') services.log.info({ run: acceptance.run, cluster, user, channel, request }, 'run accepted');
  switch (acceptance.kind) {
    case 'refused':
      return md`Not accepted: ${plain(acceptance.because)}. Nothing was started.`;
    case 'joined':
      return md`You asked for this a moment ago: it is under way (run ${code(acceptance.run)}).`;
    case 'queued': {
      const queued = md`Queued: ${digest === null ? md`` : md`digest ${plain(digest.number)} of `}${subjectOf(request, grant.cluster)} (run ${code(acceptance.run)}). The answer comes in this channel.`;
      const { alive, lastSeenMs } = acceptance.workforce;
      return alive.length > 0 ? queued : md`${queued}\n${absence(grant.cluster, lastSeenMs)}`;
    }
  }
}
