import { defineCommand } from '../listen.ts';
import { startRun } from './run.ts';

/** `/netcheck cluster`: checks the whole cluster. */
export const cluster = defineCommand({
  word: 'cluster',
  ability: 'diagnose',
  handle: (grant, _command, services, deadline) => startRun(grant, { kind: 'cluster' }, services, deadline),
});
