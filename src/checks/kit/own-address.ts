import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete, unsupported } from './check.ts';

/** A machine that answered for a node's own address. */
export type Claim = { readonly mac: string };

/** arping's exit status in a search for duplicates: nobody answered, somebody did. */
const EXIT_CODES = [0, 1];

/** Parses the evidence of `OWN_ADDRESS`. Source: arping(8) of iputils, duplicate address detection (RFC 5227). */
export function parseOwnAddress(evidence: Evidence): Parsed<readonly Claim[]> {
  // A link without ARP, a tunnel for instance, has no two answers either.
  if (evidence.exitCode === 2 && evidence.stderr.includes('is not ARPable')) return unsupported('the uplink has no ARP');
  return parseComplete(
    evidence,
    (stdout) => {
      if (!/^Sent [1-9]\d* probes/m.test(stdout)) throw new Error('no question was sent');
      const answers = [...stdout.matchAll(/^\w+ (?:reply|request) from \S+ \[([0-9A-F:]{17})\]/gm)];
      return [...new Set(answers.map(([, mac = '']) => mac.toLowerCase()))].map((mac) => ({ mac }));
    },
    EXIT_CODES,
  );
}
