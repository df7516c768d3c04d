import { unknownNode } from '../grammar.ts';
import { defineCommand } from '../listen.ts';
import { startRun } from './run.ts';

/** Older lists of nodes are not trusted to say that a node does not exist: then the run itself answers. */
const FRESH_MS = 120_000;

/** `/netcheck node NAME`: checks one node. A name that the cluster certainly does not have is answered at once. */
export const node = defineCommand({
  word: 'node',
  ability: 'diagnose',
  handle: async (grant, command, services, deadline) => {
    const known = await services.stores(grant.cluster).presence.nodes();
    if (known !== null && known.ageMs <= FRESH_MS && known.names.length > 0 && !known.names.includes(command.node)) {
      return unknownNode(command.node, grant.cluster, known.names, known.ageMs);
    }
    return startRun(grant, { kind: 'node', node: command.node }, services, deadline);
  },
});
