import { defineCommand } from '../listen.ts';
import { startRun } from './run.ts';

/** `/netcheck pod NAMESPACE/NAME`: checks one pod. Pods come and go: whether there is such a pod, the run itself says. */
export const pod = defineCommand({
  word: 'pod',
  ability: 'diagnose',
  handle: (grant, { namespace, pod: name }, services, deadline) =>
    startRun(grant, { kind: 'pod', namespace, pod: name }, services, deadline),
});
