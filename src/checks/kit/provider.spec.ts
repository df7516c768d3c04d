import { expect, test } from 'vitest';
import { instanceOf } from './provider.ts';

test.for<[string | null, string | undefined]>([
  ['gce://my-project/europe-west1-b/node-2', 'instance node-2 (Google Cloud, project my-project, zone europe-west1-b)'],
  ['aws:///eu-west-1a/i-0123456789abcdef0', 'instance i-0123456789abcdef0 (AWS, eu-west-1a)'],
  [
    'azure:///subscriptions/s/resourceGroups/r/providers/Microsoft.Compute/virtualMachines/node-2',
    'virtual machine node-2 (Azure)',
  ],
  ['openstack:///b2f1', 'server b2f1 (OpenStack)'],
  ['k3s://node-2', undefined],
  ['aws:///', undefined],
  [null, undefined],
])('%s is %s', ([providerID, text]) => {
  expect(instanceOf({ providerID })?.text).toBe(text);
});
