import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type NetcheckProcess, processesWith, startNetcheck } from '../netcheck.ts';
import { until } from '../until.ts';

/*
 * The demo as somebody gets it who types `npm run demo`. Everything it starts has this test's own TMPDIR in its
 * environment, and whatever it writes is in there: that is how it can be seen that nothing is left.
 */

const hasLab = !process.env['NETCHECK_LAB_MISSING'];

let folder: string;
let demo: NetcheckProcess | null = null;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nc-'));
});

afterEach(async () => {
  await demo?.close();
  demo = null;
  rmSync(folder, { recursive: true, force: true });
});

function start(environment: NodeJS.ProcessEnv = {}): NetcheckProcess {
  demo = startNetcheck(['demo', '--headless'], { TMPDIR: folder, ...environment });
  return demo;
}

/** Waits until no process and no file is left. */
async function nothingIsLeft(): Promise<void> {
  const left = (): readonly string[] => [...processesWith(`TMPDIR=${folder}`), ...readdirSync(folder)];
  await until(() => left().length === 0, 'everything to be gone').catch(() => undefined);
  expect(left()).toEqual([]);
}

/** The lines of the output that match one of the patterns, in their order, each as the pattern's source. */
function told(output: string, patterns: readonly RegExp[]): readonly string[] {
  const sources = new Set(patterns.map(({ source }) => source));
  return output.split('\n').flatMap((line) => [...sources].filter((source) => new RegExp(source).test(line)));
}

/** How a demo ended: its exit status, what it told of what it has to tell, what it said was wrong, and its complaints. */
async function ended(child: NetcheckProcess, patterns: readonly RegExp[]): Promise<object> {
  const status = await child.exited;
  return { status, told: told(child.stdout(), patterns), wrong: child.stdout().match(/✘.*/g), stderr: child.stderr() };
}

/** How a demo ends with which all is well. */
function well(patterns: readonly RegExp[]): object {
  return { status: 0, told: patterns.map(({ source }) => source), wrong: null, stderr: '' };
}

/** What the story has to tell, in this order. `proof` is how it knows that the network is broken, and that it is healed. */
const story = (proof: string): readonly RegExp[] => [
  new RegExp(`\\d+ ways? from (and|or) to pods of node-3 (is|are) dead \\(${proof}\\)`),
  /▶ maya types {2}\/netcheck cluster/,
  /🔴 Failed at L3 · cluster lab/,
  /Cause: net\.ipv4\.ip_forward is 0 on node-3, set by \/etc\/sysctl\.d\/99-hardening\.conf/,
  /✔ right: ip-forward-off on node-3, L3, with the file and nothing else accused/,
  /You requested this remedy: somebody else has to approve it\./,
  /✔ nobody approves their own request/,
  /▶ jonas presses {2}\[ Approve and run \]/,
  /✔ approved by somebody else, signed, and run once/,
  /✔ the same probes pass; before and after stand in the thread/,
  new RegExp(`✔ every pod of node-3 reaches the others and is reached by them \\(${proof}\\)`),
  /✔ the audit is whole: 4 lines in Redis and in its file/,
  /▶ maya types {2}\/netcheck cluster/,
  /🟢 Healthy · cluster lab/,
  /^ {2}✔ healthy$/,
];

test.runIf(hasLab)(
  'the demo breaks a network, has it diagnosed, approved and healed, ends with 0 and leaves nothing behind',
  async () => {
    const patterns = story('pinged from pod to pod');
    expect(await ended(start(), patterns)).toEqual(well(patterns));
    await nothingIsLeft();
  },
  180_000,
);

test('where no lab can run the demo plays its recording, says so at the start and at the end, and ends with 0', async () => {
  const patterns = [
    /^ {2}This plays a recording of a lab, no network is built: this machine has no namespaces\.$/,
    ...story('not pinged: this is a recording'),
    /^ {2}That was a recording: its times and its packets are those of the lab that it was made in\.$/,
  ];
  expect(await ended(start({ NETCHECK_LAB_MISSING: 'this machine has no namespaces' }), patterns)).toEqual(well(patterns));
  await nothingIsLeft();
}, 180_000);

test.runIf(hasLab)(
  'Ctrl-C in the middle of the demo ends everything that it started',
  async () => {
    const child = start();
    await child.said(/netcheck cluster/);
    // The terminal sends it to all that is in the foreground.
    child.kill('SIGINT', 'group');
    expect({ status: await child.exited, stderr: child.stderr() }).toEqual({ status: 130, stderr: '' });
    await nothingIsLeft();
  },
  120_000,
);

test.each(['65536', '1.5', 'http'])('--port %s is refused before anything is started', async (port) => {
  demo = startNetcheck(['demo', '--headless', '--port', port], { TMPDIR: folder });
  expect({ status: await demo.exited, stdout: demo.stdout(), stderr: demo.stderr() }).toEqual({
    status: 3,
    stdout: '',
    stderr: `netcheck: --port ${port}: it is a number from 0 to 65535 (0 for any port that is free)\n`,
  });
});
