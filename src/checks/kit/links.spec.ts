import { expect, test } from 'vitest';
import { evidence } from '../../../test/filter-evidence.ts';
import { readCase } from '../../../test/fixtures.ts';
import { parseLinks } from './links.ts';
import { ADDRESSES, readingKey } from './readings.ts';

const whole = readCase('linux/ip-forward-off', 'healthy').evidence[1]?.items[readingKey(ADDRESSES)]?.stdout ?? '';

function linksIn(stdout: string) {
  const parsed = parseLinks(evidence(ADDRESSES.argv, stdout));
  if (parsed.outcome !== 'ok') throw new Error(parsed.reason);
  return parsed.facts;
}

test('reads the devices of a node: uplink, pod bridge, tunnel, a pod’s link', () => {
  const links = linksIn(whole);
  expect(links.map(({ name }) => name)).toEqual([
    'lo',
    'eth0',
    'cni0',
    'flannel.1',
    ...Array.from({ length: 4 }, () => expect.stringMatching(/^veth/)),
  ]);
  const counted = { rx: expect.any(Number), tx: expect.any(Number), errors: 0, dropped: expect.any(Number) };
  expect(links.slice(1, 5)).toEqual([
    {
      name: 'eth0',
      index: 2,
      peer: 6,
      kind: 'veth',
      up: true,
      carrier: true,
      mtu: 1500,
      mac: '02:00:0a:1c:57:3c',
      master: null,
      addresses: [{ family: 4, ip: '10.28.87.60', prefix: 16 }],
      vxlan: null,
      packets: counted,
    },
    {
      name: 'cni0',
      index: 3,
      peer: null,
      kind: 'bridge',
      up: true,
      carrier: true,
      mtu: 1450,
      mac: '0a:58:ac:1b:02:01',
      master: null,
      addresses: [{ family: 4, ip: '172.27.2.1', prefix: 24 }],
      vxlan: null,
      packets: counted,
    },
    {
      name: 'flannel.1',
      index: 4,
      peer: null,
      kind: 'vxlan',
      up: true,
      carrier: true,
      mtu: 1450,
      mac: '0e:bc:63:65:6b:f6',
      master: null,
      addresses: [{ family: 4, ip: '172.27.2.0', prefix: 32 }],
      vxlan: { vni: 1, port: 8472, local: '10.28.87.60', dev: 'eth0' },
      packets: counted,
    },
    {
      name: expect.stringMatching(/^veth/),
      index: 5,
      peer: 2,
      kind: 'veth',
      up: true,
      carrier: true,
      mtu: 1450,
      mac: expect.stringMatching(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/),
      master: 'cni0',
      addresses: [],
      vxlan: null,
      packets: counted,
    },
  ]);
});

// `ip -j -d -s address show` of iproute2 6.1, of a bridge without ports that is up, and of a veth whose other end is down.
const BRIDGE = `[{"ifindex":2,"ifname":"cni0","flags":["NO-CARRIER","BROADCAST","MULTICAST","UP"],"mtu":1450,"qdisc":"noqueue","operstate":"DOWN","group":"default","txqlen":1000,"link_type":"ether","address":"0A:58:AC:1B:02:01","broadcast":"ff:ff:ff:ff:ff:ff","linkinfo":{"info_kind":"bridge"},"addr_info":[{"family":"inet","local":"172.27.2.1","prefixlen":24,"scope":"global","label":"cni0"},{"family":"inet6","local":"fe80::858:acff:fe1b:201","prefixlen":64,"scope":"link"}],"stats64":{"rx":{"bytes":84,"packets":1,"errors":2,"dropped":3,"over_errors":0,"multicast":0},"tx":{"bytes":168,"packets":2,"errors":4,"dropped":5,"carrier_errors":0,"collisions":0}}}]`;

test('tells what somebody set from what the link below does', () => {
  expect(linksIn(BRIDGE)).toEqual([
    {
      name: 'cni0',
      index: 2,
      peer: null,
      kind: 'bridge',
      up: true,
      carrier: false,
      mtu: 1450,
      mac: '0a:58:ac:1b:02:01',
      master: null,
      addresses: [
        { family: 4, ip: '172.27.2.1', prefix: 24 },
        { family: 6, ip: 'fe80::858:acff:fe1b:201', prefix: 64 },
      ],
      vxlan: null,
      packets: { rx: 1, tx: 2, errors: 6, dropped: 8 },
    },
  ]);
  const down = BRIDGE.replace('["NO-CARRIER","BROADCAST","MULTICAST","UP"]', '["BROADCAST"]').replace(
    '"DOWN"',
    '"LOWERLAYERDOWN"',
  );
  expect(linksIn(down)).toMatchObject([{ up: false, carrier: false }]);
});

test('reads what has neither kind, address nor counters', () => {
  expect(linksIn('[{"ifname":"sit0","flags":[],"mtu":1480,"operstate":"DOWN"}]')).toEqual([
    {
      name: 'sit0',
      index: null,
      peer: null,
      kind: 'physical',
      up: false,
      carrier: true,
      mtu: 1480,
      mac: null,
      master: null,
      addresses: [],
      vxlan: null,
      packets: null,
    },
  ]);
});

test.for(['', '[]', '[{}]', '{}', whole.slice(0, -2)])('is unknown without a device: %j', (stdout) => {
  expect(parseLinks(evidence(ADDRESSES.argv, stdout))).toEqual({
    outcome: 'unknown',
    reason: expect.stringMatching(/^ip -j -d -s address show: unreadable output \(.+\)$/),
  });
});
