import { restartPod } from '../kit/restart-pod.ts';

/** F2, F3, F5, F8: flannel's pod on one node is deleted; the new one sets up its device, entries and routes again. */
export const restartFlannel = restartPod({
  id: 'restart-flannel',
  title: 'Restart flannel',
  risk: 'While the new pod starts, usually a few seconds, this node learns of no new nodes. Connections of pods go on over what is set up; where the device has to be made anew they are interrupted for a moment.',
});
