import type { RunOrder } from '../src/model/wire/run.ts';
import { newId } from '../src/store/ids.ts';

/** An order of a run, as the bot makes one. */
export function makeOrder(order: Partial<RunOrder> = {}): RunOrder {
  return {
    id: newId('r'),
    cluster: 'lab',
    request: { kind: 'cluster' },
    requestedBy: { user: 'U1', team: 'T1' },
    channel: 'C1',
    follows: null,
    digest: null,
    ...order,
  };
}
