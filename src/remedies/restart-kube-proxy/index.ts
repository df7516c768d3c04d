import { restartPod } from '../kit/restart-pod.ts';

/** S2: kube-proxy's pod on one node is deleted; the new one writes all its rules anew when it starts. */
export const restartKubeProxy = restartPod({
  id: 'restart-kube-proxy',
  title: 'Restart kube-proxy',
  risk: 'The rules that are there stay while the new pod starts, usually a few seconds; changes of Services reach this node only after that.',
});
