import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Verdict } from '../../src/model/verdict.ts';
import { runNetcheck } from '../netcheck.ts';
import { sharedLab } from './shared-lab.ts';

/*
 * A network in which nothing is wrong, of which netcheck cannot see a part: what the command line says then. It ends by
 * itself, is never healthy, and says where it could not look and why.
 */

/** Each fault with the nodes that it hides, and the reason that is given. */
const HIDDEN: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['agent-hangs', ['node-2'], /accepted the exec, but the agent said nothing|the agent did not answer within \d+ s/],
  ['agent-missing', ['node-2'], /^no pod of the DaemonSet netcheck-agents\/netcheck-agent on node-2$/],
  ['exec-dropped', ['node-2'], /^the connection to the agent on node-2 closed \(1006\) before it ended$/],
  ['exec-forbidden', ['node-1', 'node-2', 'node-3'], /is forbidden/],
];

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('what cannot be looked at is not healthy', () => {
  const lab = sharedLab({ nodes: 3 });
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'netcheck-honest-'));
  });

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  /** The cluster, for the command line, with no more rights than a worker has. */
  function kubeconfig(): readonly string[] {
    return ['--kubeconfig', lab().kubeconfig, '--context', `${lab().name}-worker`];
  }

  /** What the command line says, as JSON. */
  async function verdictOf(argv: readonly string[]): Promise<{ readonly status: number; readonly verdict: Verdict }> {
    const { status, stdout, stderr } = await runNetcheck([...argv, ...kubeconfig(), '--output', 'json']);
    expect(stderr).toBe('');
    return { status, verdict: Verdict.parse(JSON.parse(stdout)) };
  }

  test('with nothing hidden it is healthy, and its exit status is 0', async () => {
    const { status, verdict } = await verdictOf(['run', 'cluster']);
    expect([status, verdict.status, verdict.notChecked]).toEqual([0, 'healthy', []]);
  });

  test.each(HIDDEN)('%s: exit status 2, with every node that was not seen and the reason', async (fault, nodes, reason) => {
    await lab().fault(fault, nodes.length === 1 ? { node: 'node-2' } : {});
    const bundle = join(folder, `${fault}.json.gz`);
    const { status, verdict } = await verdictOf(['run', 'cluster', '--bundle', bundle]);
    await lab().heal(fault);
    const hidden = (node: string) => verdict.notChecked.filter(({ where }) => where.split(', ').includes(node));
    expect({ status, is: verdict.status, causes: verdict.causes, located: verdict.located, symptoms: verdict.symptoms }).toEqual({
      status: 2,
      is: 'inconclusive',
      causes: [],
      located: [],
      symptoms: [],
    });
    expect(nodes.map((node) => [node, hidden(node).some((item) => reason.test(item.reason))])).toEqual(
      nodes.map((node) => [node, true]),
    );
    expect(verdict.headline).not.toMatch(/healthy/i);

    const text = await runNetcheck(['replay', bundle]);
    expect([text.status, text.stdout.split(' ').slice(0, 2), /healthy/i.test(text.stdout)]).toEqual([
      2,
      ['?', 'INCONCLUSIVE'],
      false,
    ]);
    for (const node of nodes) expect(text.stdout).toMatch(new RegExp(`Not checked[^]*${node}`));
    expect(JSON.parse((await runNetcheck(['replay', bundle, '--output', 'json'])).stdout)).toEqual(verdict);
  });

  test('a probe pod that its agent cannot enter is unknown, with the reason', async () => {
    const hide = `printf '#!/bin/sh\\necho no way inside >&2\\nexit 1\\n' >/run/no-nsenter
chmod +x /run/no-nsenter
mount --bind /run/no-nsenter "$(readlink -f "$(command -v nsenter)")"`;
    await lab().sh('node-2', hide);
    const { status, verdict } = await verdictOf(['run', 'cluster']);
    await lab().sh('node-2', 'umount "$(readlink -f "$(command -v nsenter)")"');
    expect({ status, is: verdict.status, causes: verdict.causes, symptoms: verdict.symptoms }).toEqual({
      status: 2,
      is: 'inconclusive',
      causes: [],
      symptoms: [],
    });
    expect(verdict.notChecked.map(({ where }) => where)).toContain('node-2');
    expect(verdict.notChecked.map(({ reason }) => reason).join('\n')).toMatch(
      /the agent inside the probe pod ended: no way inside/,
    );
  });

  test('one node alone, whose agent hangs, is unknown as well', async () => {
    await lab().fault('agent-hangs', { node: 'node-2' });
    const { status, verdict } = await verdictOf(['run', 'node', 'node-2']);
    await lab().heal('agent-hangs');
    expect([status, verdict.status]).toEqual([2, 'inconclusive']);
    expect(verdict.notChecked.map(({ where }) => where)).toContain('node-2');
  });

  test('an API server that goes silent gives a verdict all the same: nothing is known, with the reason', async () => {
    await lab().api('POST', '/_lab/faults', { reads: [{ resource: 'nodes', kind: 'hang' }] });
    const { status, verdict } = await verdictOf(['run', 'cluster']);
    await lab().api('POST', '/_lab/faults', {});
    expect([status, verdict.status, verdict.checked.nodes, verdict.layers]).toEqual([
      2,
      'inconclusive',
      0,
      { L2: 'not-checked', L3: 'not-checked', L4: 'not-checked', DNS: 'not-checked', L7: 'not-checked' },
    ]);
    expect(verdict.notChecked).toContainEqual({
      what: 'the cluster',
      where: expect.any(String),
      reason: expect.stringMatching(/in time|did not answer|timed out/),
    });
  });

  test('a bundle that was cut off is no bundle, and gives no verdict', async () => {
    const bundle = join(folder, 'cut.json');
    const { status, stdout, stderr } = await runNetcheck(['run', 'cluster', '--bundle', bundle, ...kubeconfig()]);
    expect([status, stderr, stdout.startsWith('✔ HEALTHY ')]).toEqual([0, '', true]);
    writeFileSync(bundle, readFileSync(bundle, 'utf8').slice(0, -100));
    expect(await runNetcheck(['replay', bundle])).toEqual({
      status: 3,
      stdout: '',
      stderr: `netcheck: ${bundle} is no evidence bundle: it is not JSON. Write one with netcheck run … --bundle FILE.\n`,
    });
  });
});
