import { hostname } from 'node:os';
import { messageOf } from '../model/text.ts';
import { readPublicKey, serveRemedy } from './remedy.ts';

// The container has a /run of its own, and it is kube-proxy on the host that iptables has to take turns with.
process.env['XTABLES_LOCKFILE'] = '/proc/1/root/run/xtables.lock';

const key = process.env['NETCHECK_APPROVAL_KEY'] ?? '/etc/netcheck/approval-key.pub';

serveRemedy({
  input: process.stdin,
  output: process.stdout,
  root: '/proc/1/root',
  node: process.env['NETCHECK_NODE'] ?? hostname(),
  publicKey: readPublicKey(key),
  clock: Date.now,
}).then(
  (exitCode) => {
    process.exitCode = exitCode;
    process.stdin.destroy();
  },
  (error: unknown) => {
    process.stderr.write(`netcheck-agent: ${messageOf(error)}\n`);
    process.exit(3);
  },
);
