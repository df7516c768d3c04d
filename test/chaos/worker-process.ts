import { appendFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../../src/config.ts';
import { createWorker, type WorkerTuning } from '../../src/jobs/worker.ts';
import { plansFor } from '../verdicts.ts';
import { createLog, recorded } from '../world.ts';
import { inherited } from './child.ts';

/** `effects` is a file that gets a line whenever a remedy takes effect. */
type Settings = {
  readonly tuning: Partial<WorkerTuning>;
  readonly takesMs: number;
  readonly verdict: string;
  readonly effects?: string;
};

const { tuning, takesMs, verdict, effects } = inherited('NETCHECK_TEST_SETTINGS') as Settings;
const worker = createWorker(inherited('NETCHECK_TEST_CONFIG') as Config, {
  cluster: 'lab',
  version: '0.0.0',
  log: createLog(),
  propose: plansFor,
  diagnose: async (request, options) => {
    options.onProgress({ phase: 'sweep', nodesReady: 6, nodesTotal: 6, layers: { L2: 'ok' } });
    await delay(takesMs, undefined, { signal: options.signal });
    return recorded(verdict)(request, options);
  },
  ...(effects === undefined
    ? {}
    : {
        remediate: async (action, { onStep }) => {
          onStep('looking again');
          await delay(takesMs / 3);
          appendFileSync(effects, `${action.id}\n`);
          onStep('verifying');
          await delay(takesMs / 3);
          return { outcome: 'healed', reason: null, before: [], after: [], verified: [], undo: [] };
        },
      }),
  tuning,
});
await worker.start();
process.stdout.write(`${worker.id}\n`);
