import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withPodState, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { serviceRulesStale } from './index.ts';

const inCase = (name: string) => readCase('linux/service-rules-stale', name);
const found = (bundle: Bundle) => findingsIn(serviceRulesStale, bundle);
const codes = (bundle: Bundle) => found(bundle).map(({ code, entity: { name } }) => `${code} ${name}`);
const told = (bundle: Bundle, change: (inventory: Inventory) => Partial<Inventory>): Bundle => ({
  ...bundle,
  inventory: { ...bundle.inventory, ...change(bundle.inventory) },
});

const NFT = 'iptables-nft-save -c';
const GONE = '172.27.9.98';
const API = '172.26.0.1';
const DNS = '172.26.0.10';

const uid = inCase('missing').inventory.pods.find(({ name }) => name === 'kube-proxy-2')?.uid;
const shared = {
  check: 'service-rules-stale',
  layer: 'L4',
  entity: { kind: 'Node', name: 'node-2' },
  severity: 'critical',
  certainty: 'certain',
  partial: false,
  advice:
    'Restart kube-proxy on node-2 (kube-system/kube-proxy-2): it writes all rules anew when it starts. Its log says why it did not: kubectl -n kube-system logs kube-proxy-2',
};
const remedy = (id: unknown) => ({
  id: 'restart-kube-proxy',
  node: 'node-2',
  params: { namespace: 'kube-system', pod: 'kube-proxy-2', uid: id },
});

const missing = {
  ...shared,
  code: 'service-rules-missing',
  at: [{ place: 'node/node-2', point: 'nat', via: API }],
  harms: [{ dst: API, dport: 443, proto: 'tcp', state: 'new' }],
  summary: `node-2 has no rule of kube-proxy for default/kubernetes (${API}:443/tcp), which the other nodes have: from this node and its pods it leads nowhere`,
  evidence: [
    { where: 'node-2', source: 'rules of iptables and nft', text: `no rule for ${API}:443/tcp` },
    { where: 'node-1', source: NFT, text: `${API}:443/tcp leads to 10.28.0.2:6443` },
    { where: 'Kubernetes API', source: 'EndpointSlices', text: `${API}:443/tcp: 10.28.0.2:6443 ready` },
  ],
  remedy: remedy(uid),
};

function stale(source: string, bundle: Bundle) {
  const ready = bundle.inventory.endpoints.filter(({ service }) => service === 'kube-dns').map(({ ip }) => `${ip}:53`);
  return {
    ...shared,
    code: 'service-rules-stale',
    at: [{ place: 'node/node-2', point: 'nat', via: DNS }],
    harms: ['udp', 'tcp'].map((proto) => ({ dst: DNS, dport: 53, proto, state: 'new' })),
    summary: `kube-proxy's rules on node-2 are behind: they lead kube-system/kube-dns (${DNS}:53/udp) to ${GONE}:53, kube-system/kube-dns (${DNS}:53/tcp) to ${GONE}:53, where nobody of the Service is any more`,
    evidence: ['udp', 'tcp'].flatMap((proto) => [
      { where: 'node-2', source, text: `${DNS}:53/${proto} leads to ${GONE}:53` },
      { where: 'Kubernetes API', source: 'EndpointSlices', text: `${DNS}:53/${proto}: ${ready.join(', ')} ready` },
    ]),
    remedy: remedy(bundle.inventory.pods.find(({ name }) => name === 'kube-proxy-2')?.uid),
  };
}

test('rules that agree with the endpoints are as they should be', () => {
  expect(evaluated(serviceRulesStale, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a rule that one node lacks', () => {
  expect(found(inCase('missing'))).toEqual([missing]);
});

test('rules that lead to nobody, of iptables and of nftables mode', () => {
  const [iptables, nftables] = [inCase('stale'), inCase('stale-nft')];
  expect(found(iptables)).toEqual([stale(NFT, iptables)]);
  expect(found(nftables)).toEqual([stale('nft -j list ruleset', nftables)]);
});

test('one of several endpoints that is gone loses some connections', () => {
  const bundle = withReading(
    inCase('healthy'),
    NFT,
    said((text) => text.replace(/--to-destination 172\.27\.1\.\d+:8080/, `--to-destination ${GONE}:8080`)),
    'node-2',
  );
  const [finding, ...others] = found(bundle);
  expect([finding?.code, finding?.partial, finding?.harms, others]).toEqual([
    'service-rules-stale',
    'flows',
    [{ dst: '172.26.80.80', dport: 80, proto: 'tcp', state: 'new' }],
    [],
  ]);
});

const withoutChains = (text: string): string =>
  text
    .split('\n')
    .filter((line) => !/KUBE-(SVC|SEP)-/.test(line))
    .join('\n');
const flushed = withReading(inCase('healthy'), NFT, said(withoutChains), 'node-2');

test('a node that lost all rules has them nowhere, and only where kube-proxy is meant to run', () => {
  const [finding, ...others] = found(flushed);
  expect([finding?.code, finding?.summary, others]).toEqual([
    'service-rules-missing',
    `node-2 has no rules of kube-proxy for any Service: default/kubernetes (${API}:443/tcp), default/web (172.26.80.80:80/tcp) (3 endpoints), kube-system/kube-dns (${DNS}:53/udp) (2 endpoints) and 2 more lead nowhere from this node and its pods`,
    [],
  ]);
  expect(codes(told(flushed, () => ({ pods: [] })))).toEqual([]);
});

test('a static pod is not restarted by deleting it', () => {
  const bundle = told(inCase('missing'), ({ pods }) => ({
    pods: pods.map((pod) => ({ ...pod, owner: { kind: 'Node', name: pod.node ?? '' } })),
  }));
  expect(found(bundle).map(({ remedy: offered }) => offered)).toEqual([undefined]);
});

test('what no node has rules for is carried by something else', () => {
  const everywhere = withReading(inCase('healthy'), NFT, (item) => ({
    ...item,
    stdout: item.stdout.replaceAll(/^.*-A KUBE-SERVICES -d 172\.26\.0\.1\/32 .*\n/gm, ''),
  }));
  expect(codes(everywhere)).toEqual([]);
});

test('a port without endpoints, or without one on the node, has no rule', () => {
  const without = told(inCase('missing'), ({ endpoints }) => ({
    endpoints: endpoints.map((endpoint) => ({ ...endpoint, ready: endpoint.service !== 'kubernetes' })),
  }));
  const refusing = withReading(
    inCase('missing'),
    NFT,
    said((text) =>
      text.replace(
        '\nCOMMIT',
        `\n[0:0] -A KUBE-SERVICES -d ${API}/32 -p tcp -m comment --comment "default/kubernetes:https has no local endpoints" -m tcp --dport 443 -j DROP\nCOMMIT`,
      ),
    ),
    'node-2',
  );
  expect([codes(without), codes(refusing)]).toEqual([[], []]);
});

test('in nftables mode, likewise, with comments in the maps', () => {
  type Ruleset = { nftables: { map?: { table: string; name: string; elem?: unknown[] } }[] };
  const changed = (change: (maps: Map<string, { elem?: unknown[] }>) => void) =>
    withReading(
      inCase('stale-nft'),
      'nft -j list ruleset',
      said((text) => {
        const ruleset = JSON.parse(text) as Ruleset;
        const maps = ruleset.nftables.flatMap(({ map }) => (map?.table === 'kube-proxy' ? [[map.name, map] as const] : []));
        change(new Map(maps));
        return JSON.stringify(ruleset);
      }),
      'node-1',
    );
  const key = JSON.stringify({ concat: [API, 'tcp', 443] });
  const lacking = changed((maps) => {
    const map = maps.get('service-ips');
    if (map?.elem !== undefined) map.elem = map.elem.filter((element) => !JSON.stringify(element).includes(key));
  });
  const commented = changed((maps) => {
    const map = maps.get('service-ips');
    map?.elem?.forEach((element, index, all) => {
      const [val, verdict] = element as [unknown, unknown];
      all[index] = [{ elem: { val, comment: 'a Service' } }, verdict];
    });
  });
  expect(codes(lacking)).toEqual(['service-rules-missing node-1', 'service-rules-stale node-2']);
  expect(codes(commented)).toEqual(['service-rules-stale node-2']);
});

test('an address that a pod has, or that came meanwhile, is not gone', () => {
  const bundle = inCase('stale');
  const [pod] = bundle.inventory.pods.filter(({ labels }) => labels['k8s-app'] === 'kube-dns');
  if (pod === undefined) throw new Error('there is no CoreDNS pod');
  const with_ = (change: object) =>
    told(bundle, ({ pods }) => ({ pods: [...pods, { ...pod, name: 'another', ip: GONE, ...change }] }));
  const later = withPodState(bundle, (state) => ({
    ...state,
    namespaces: state.namespaces.map((namespace, index) =>
      index === 0 ? { ...namespace, addresses: [...namespace.addresses, GONE] } : namespace,
    ),
  }));
  expect([codes(with_({})), codes(later)]).toEqual([[], []]);
  // The address of another application's pod is no endpoint of the Service.
  expect(codes(with_({ labels: { app: 'other' } }))).toEqual(['service-rules-stale node-2']);
  expect(codes(with_({ labels: { app: 'other' }, phase: 'Succeeded' }))).toEqual(['service-rules-stale node-2']);
});

test('a pod may have come on a node that was not read', () => {
  const bundle = inCase('stale');
  const unread = { ...bundle, evidence: bundle.evidence.filter(({ node }) => node !== 'node-3') };
  const within = told(unread, ({ nodes }) => ({
    nodes: nodes.map((node) => (node.name === 'node-3' ? { ...node, podCIDRs: ['172.27.9.0/24'] } : node)),
  }));
  const nowhere = told(unread, ({ nodes }) => ({
    nodes: nodes.map((node) => (node.name === 'node-3' ? { ...node, podCIDRs: [] } : node)),
  }));
  const stays = ['service-rules-stale node-2'];
  const stale3 = (bundle: Bundle) =>
    evaluated(serviceRulesStale, bundle).findings.map(({ code, entity: { name } }) => `${code} ${name}`);
  expect([stale3(unread), stale3(within), stale3(nowhere)]).toEqual([stays, [], []]);
});

test('where both kinds of iptables have rules and one is right, that is another fault', () => {
  const right = inCase('healthy').evidence.find(({ node }) => node === 'node-2')?.items[`node: ${NFT}`]?.stdout ?? '';
  const bundle = withReading(
    inCase('stale'),
    'iptables-legacy-save',
    said(() => right),
    'node-2',
  );
  expect([right === '', codes(bundle)]).toEqual([false, []]);
});

test('IPVS mode has no rules for a Service', () => {
  const bundle = withReading(
    withReading(inCase('missing'), NFT, said(withoutChains)),
    'address show',
    said((text) => {
      const links = JSON.parse(text) as { ifname: string }[];
      return JSON.stringify([...links, { ...links.find(({ ifname }) => ifname === 'eth0'), ifindex: 99, ifname: 'kube-ipvs0' }]);
    }),
  );
  expect(evaluated(serviceRulesStale, bundle)).toEqual({ findings: [], acquitted: [], gaps: [] });
});
