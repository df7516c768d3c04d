import { expect, test } from 'vitest';
import { endpointChain, serviceChain } from './rules.ts';

// Names that kube-proxy gives on every cluster, and two endpoint chains from a published iptables-save.
test('chains have the names that kube-proxy gives them', () => {
  const dns = { service: 'kube-system/kube-dns', name: 'dns', protocol: 'udp' } as const;
  const api = { service: 'default/kubernetes', name: 'https', protocol: 'tcp' } as const;
  expect({
    api: serviceChain(api),
    dns: serviceChain(dns),
    dnsTcp: serviceChain({ ...dns, name: 'dns-tcp', protocol: 'tcp' }),
    metrics: serviceChain({ ...dns, name: 'metrics', protocol: 'tcp' }),
    apiEndpoint: endpointChain(api, '172.31.7.91:6443'),
    dnsEndpoint: endpointChain(dns, '10.244.0.2:53'),
  }).toEqual({
    api: 'KUBE-SVC-NPX46M4PTMTKRN6Y',
    dns: 'KUBE-SVC-TCOU7JCQXEZGVUNU',
    dnsTcp: 'KUBE-SVC-ERIFXISQEP7F7OF4',
    metrics: 'KUBE-SVC-JD5MR3NA4I4DYORP',
    apiEndpoint: 'KUBE-SEP-Z256WNARC5DJQIZM',
    dnsEndpoint: 'KUBE-SEP-YIL6JZP7A3QYXJU2',
  });
});
