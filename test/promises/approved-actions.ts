import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { FileConfig } from '../../src/config.ts';
import { signApproval } from '../../src/jobs/approval.ts';
import { execute } from '../../src/jobs/execute.ts';
import { NO_METER } from '../../src/meter.ts';
import type { Action, RemedyPlan } from '../../src/model/remedy.ts';
import { createActionStore } from '../../src/store/actions.ts';
import { newId } from '../../src/store/ids.ts';
import { type ApprovalKeys, makeApprovalKeys } from '../action.ts';
import { createLog } from '../world.ts';

export const CLUSTER = 'lab';
const LONG = 3_600_000;

/** Actions that somebody requested and two others approved, and a worker that executes them; files go into `folder`. */
export function createApprovedActions(redis: Redis, folder: string, keys: ApprovalKeys = makeApprovalKeys()) {
  const actions = createActionStore(redis, CLUSTER);
  const publicKeyFile = join(folder, 'approval.pub');
  writeFileSync(publicKeyFile, keys.publicKey);
  const config = FileConfig.parse({ clusters: { [CLUSTER]: {} }, remedies: { enabled: true } });

  async function request(plan: RemedyPlan): Promise<string> {
    const by = { user: 'U1', team: 'T1' };
    const order = { id: newId('a'), run: newId('r'), channel: 'C00000001', plan, by, approvalsNeeded: 2 };
    return (await actions.request(order, LONG)).id;
  }

  return {
    actions,
    request,

    /** Requests and approves an action in a Redis that is emptied first; the approvals hold for so many milliseconds. */
    async approve(plan: RemedyPlan, forMs = LONG): Promise<string> {
      await redis.flushall();
      const id = await request(plan);
      for (const user of ['U2', 'U3']) {
        const approver = { user, team: 'T1' };
        const expiresAt = (await actions.now()) + forMs;
        await actions.approve(id, approver, (action) => signApproval(action, approver, expiresAt, keys.privateKey), {
          selfApproval: false,
        });
      }
      return id;
    },

    /** Has a worker execute an action. Returns what came to be carried out. */
    async execute(id: string, auditFile: string): Promise<Action[]> {
      const acted: Action[] = [];
      await execute(id, {
        config: { ...config, remedies: { enabled: true, publicKeyFile, auditFile, events: false } },
        cluster: CLUSTER,
        redis,
        worker: 'w1',
        stopMs: 1_000,
        log: createLog(),
        meter: NO_METER,
        acting: new Map(),
        remediate: async (action) => {
          acted.push(action);
          return { outcome: 'healed', reason: null, before: [], after: [], verified: [], undo: [] };
        },
      });
      return acted;
    },
  };
}
