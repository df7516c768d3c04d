import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buttonsOf, type TestMessage, textOf } from '../slack.ts';
import { until } from '../until.ts';
import { createInstallation, type Installation, type Who } from './installation.ts';

/*
 * A digest from the slash command to the channel, over a real network: healthy, broken, mended by an approved remedy.
 */

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('digests of a real network', () => {
  let netcheck: Installation;

  beforeAll(async () => {
    netcheck = await createInstallation({ nodes: 3 });
  });

  afterAll(() => netcheck?.close());

  /** Makes digest 1 now, and waits for its message. */
  async function digest(who: Who): Promise<TestMessage> {
    const { text } = await netcheck.command('digest run 1', who);
    const run = /^Queued: digest 1 of cluster `lab` \(run `(r\w+)`\)/.exec(text)?.[1];
    if (run === undefined) throw new Error(text);
    return until(
      async () =>
        (await netcheck.slack.messages('incidents')).find(
          (message) => message.metadata?.event_payload.run === `lab/${run}` && message.text.includes('digest 1 of cluster lab'),
        ),
      `digest ${run}`,
      60_000,
    );
  }

  test('saved, healthy in one line, broken with its cause and a picture, mended, and told who approved it', async () => {
    const shown = await netcheck.command('digest weekdays 09:00 Europe/Berlin only changes', 'ann');
    expect(textOf(shown)).toContain(
      '*every weekday (Monday to Friday) at 09:00, Europe/Berlin time*, only when something changed',
    );
    const [save] = buttonsOf(shown);
    if (save === undefined) throw new Error('no Save button');
    expect(await netcheck.click(save, 'ann')).toMatch(/^Saved as digest 1:/);

    const healthy = await digest('ann');
    expect(textOf(healthy)).toMatch(/^🟢 \*Healthy\* · cluster `lab`: 3 nodes, \d+ probes, every one as it should be/);

    await netcheck.lab.fault('ip-forward-off', { node: 'node-2' });
    const broken = await digest('bob');
    expect(textOf(broken)).toMatch(/^🔴 \*Failed\* at `L3` · digest of cluster `lab`[^]*🆕 \*New\* \(1\)\n• `L3` .*node-2/);
    const picture = await netcheck.reply(broken, ({ files }) => files.length > 0, 'the picture');
    expect(picture.files[0]?.alt_txt).toMatch(
      /Node to node: 6 ways measured, none loses packets.*Pod to pod: 6 ways measured, 4 lose packets/,
    );
    const png = await netcheck.slack.file(picture);
    expect([png.subarray(1, 4).toString(), png.byteLength > 10_000]).toEqual(['PNG', true]);

    const { id, approve } = await netcheck.request(broken, 'ann');
    expect(await netcheck.click(approve, 'bob')).toMatch(/^Approved\./);
    expect((await netcheck.closed(id)).outcome?.outcome).toBe('healed');
    await netcheck.lab.heal('ip-forward-off');

    const mended = textOf(await digest('ann'));
    expect(mended).toMatch(/^🟢 \*Healthy\* · digest of cluster `lab`[^]*✅ \*Resolved\* \(\d\)\n• `L3` .*node-2/);
    expect(mended).toContain(
      `healed (requested by <@${netcheck.slack.user('ann')}>, approved by <@${netcheck.slack.user('bob')}>)`,
    );

    const history = textOf(await netcheck.command('history', 'cara'));
    expect([...history.matchAll(/\*(Healthy|Failed)\* digest 1/g)].map(([, status]) => status)).toEqual([
      'Healthy',
      'Failed',
      'Healthy',
    ]);
    expect(netcheck.slack.refusedBlocks).toEqual([]);
  });
});
