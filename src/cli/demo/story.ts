import { buttonsOf, type TestButton, type TestMessage, textOf } from '../../../test/slack.ts';
import { until } from '../../../test/until.ts';
import { entityName } from '../../model/entity.ts';
import type { Verdict } from '../../model/verdict.ts';
import { createOutbox } from '../../store/outbox.ts';
import { verifyCluster } from '../audit.ts';
import { followChannel } from './channel.ts';
import { STORY } from './network.ts';
import { CHANNEL, CLUSTER, PEOPLE, type Person, type Stage } from './stage.ts';
import { seconds, type Teller } from './teller.ts';

/** No step of the story takes longer than this, in milliseconds; one that does has failed. */
const STEP_MS = 60_000;

/** How the story went: what was not as it should be, a sentence each, and the runs of its two diagnoses. */
export type StoryEnd = { readonly wrong: readonly string[]; readonly broken: string; readonly healed: string };

/**
 * The main job, from a command over a broken network to a healed one, played by two engineers through real requests to
 * the bot. What Slack shows is told as it appears; verdicts, network and audit are checked on the way.
 */
export async function playStory(stage: Stage, teller: Teller): Promise<StoryEnd> {
  const wrong: string[] = [];
  const { onCall, second } = PEOPLE;
  const { network, slack, hands } = stage;
  const outbox = createOutbox(stage.redis);
  const follower = followChannel(stage, teller.message);

  function check(problem: string | null, otherwise: string, ms?: number): void {
    if (problem === null) return teller.fact(`✔ ${otherwise}`, ms);
    wrong.push(problem);
    teller.wrong(problem);
  }

  /** Types a command and returns the run's root message once it has its verdict. */
  async function diagnose(who: Person): Promise<{ readonly root: TestMessage; readonly verdict: Verdict; readonly run: string }> {
    teller.act(who, 'types  /netcheck cluster');
    const from = performance.now();
    const answer = await hands.command('cluster', { user: who, channel: CHANNEL });
    teller.whisper(who, answer.text, answer.ms);
    const run = /run `(\w+)`/.exec(answer.text)?.[1];
    if (run === undefined) throw new Error(`the command was not accepted: ${answer.text}`);
    const verdict = await until(
      async () => {
        const read = await stage.runs.verdict(run);
        return read.ok ? read.value : null;
      },
      'the verdict',
      STEP_MS,
    );
    const decided = performance.now() - from;
    const root = await until(
      async () => {
        const messages = await slack.messages(CHANNEL);
        return messages.find((message) => isOf(message, run) && /^(🟢|🟠|🔴|⚪)/u.test(message.text));
      },
      'the verdict in Slack',
      STEP_MS,
    );
    const shown = performance.now() - from;
    await settled();
    teller.fact(`verdict ${seconds(decided)} after the command, in Slack after ${seconds(shown)}`);
    return { root, verdict, run };
  }

  /** Waits until the outbox has nothing more to say, so that the story goes on below it. */
  async function settled(): Promise<void> {
    await until(async () => (await outbox.unsettled()) === 0, 'the thread to be complete', STEP_MS);
    await follower.look();
  }

  async function click(who: Person, button: TestButton): Promise<string> {
    teller.act(who, `presses  [ ${button.text.text} ]`);
    const from = performance.now();
    const said = await (await hands.click(button, { user: who, channel: CHANNEL })).said(STEP_MS);
    teller.whisper(who, said, performance.now() - from);
    return said;
  }

  /** The reply in a thread that fits. */
  async function reply(root: TestMessage, fits: (message: TestMessage) => boolean, what: string): Promise<TestMessage> {
    return until(async () => (await slack.thread(CHANNEL, root.ts)).find(fits), what, STEP_MS);
  }

  async function checkNetwork(isMeantToWork: boolean): Promise<void> {
    const from = performance.now();
    const dead = await network.unreachable();
    const ms = performance.now() - from;
    if (isMeantToWork) {
      check(
        dead.length === 0 ? null : `the network is not healed: ${dead.join(', ')} do not answer`,
        `every pod of ${STORY.node} reaches the others and is reached by them (${network.proof})`,
        ms,
      );
    } else {
      check(
        dead.length > 0 ? null : 'the fault has no effect',
        `${dead.length === 1 ? '1 way from or to pods of' : `${dead.length} ways from and to pods of`} ${STORY.node} ${dead.length === 1 ? 'is' : 'are'} dead (${network.proof})`,
        ms,
      );
    }
  }

  try {
    teller.chapter('A file breaks the network');
    const from = performance.now();
    teller.fact(await network.inject(STORY.fault), performance.now() - from);
    await checkNetwork(false);

    teller.chapter(`#${CHANNEL}`);
    const first = await diagnose(onCall);
    check(
      misjudged(first.verdict),
      `right: ${STORY.code} on ${STORY.node}, ${STORY.layer}, with the file and nothing else accused`,
    );

    const [offer] = buttonsOf(first.root);
    if (offer === undefined) throw new Error('the verdict offers no remedy');
    await click(onCall, offer);
    const card = await reply(
      first.root,
      (message) => buttonsOf(message).some(({ action_id }) => action_id === 'approve'),
      'the card of the remedy',
    );
    await settled();
    const [approve] = buttonsOf(card);
    if (approve === undefined) throw new Error('the card has no button');

    const refusal = await click(onCall, approve);
    check(
      /somebody else has to approve/.test(refusal) ? null : `self-approval was not refused: ${refusal}`,
      'nobody approves their own request',
    );
    const acting = performance.now();
    const consent = await click(second, approve);
    check(
      consent.startsWith('Approved') ? null : `the approval was refused: ${consent}`,
      'approved by somebody else, signed, and run once',
    );
    const outcome = await reply(first.root, ({ text }) => /^(Healed|Done|Not done|Outcome unknown)/.test(text), 'the outcome');
    const took = performance.now() - acting;
    await settled();
    check(
      outcome.text.startsWith('Healed') ? null : `the remedy did not heal: ${textOf(outcome)}`,
      'the same probes pass; before and after stand in the thread',
      took,
    );
    await checkNetwork(true);
    const audit = await verifyCluster(stage.redis, CLUSTER, stage.config.remedies.auditFile ?? null);
    check(
      audit.status === 0 ? null : `the audit is ${audit.text}`,
      `the audit is ${audit.text.replace(/ and in .*/, ' and in its file')}`,
    );

    teller.chapter('And again');
    const last = await diagnose(onCall);
    const left = [...last.verdict.causes, ...last.verdict.risks].map(({ code }) => code);
    check(
      last.verdict.status === 'healthy' && last.verdict.causes.length === 0
        ? null
        : `the second verdict is ${last.verdict.status}: ${last.verdict.headline} (${left.join(', ')})`,
      'healthy',
    );
    return { wrong, broken: first.run, healed: last.run };
  } finally {
    await follower.stop();
  }
}

/** Whether a message belongs to a run. */
function isOf({ metadata }: TestMessage, run: string): boolean {
  return metadata?.event_payload.run === `${CLUSTER}/${run}`;
}

/** What of the first verdict is not as it has to be, or null. */
function misjudged({ status, layer, causes, located, notChecked }: Verdict): string | null {
  const found = causes.map(({ code, entity }) => `${code} on ${entityName(entity)}`).join(', ') || 'no cause';
  const evidence = JSON.stringify(causes.map((cause) => [cause.summary, cause.evidence]));
  const isRight =
    status === 'failed' &&
    layer === STORY.layer &&
    found === `${STORY.code} on ${STORY.node}` &&
    evidence.includes(STORY.file) &&
    located.length === 0 &&
    notChecked.length === 0;
  if (isRight) return null;
  const rest = [...located.map(({ segment }) => segment), ...notChecked.map(({ where, reason }) => `${where}: ${reason}`)];
  return `the verdict is wrong: ${status} at ${layer ?? 'no layer'}, ${found}${rest.length === 0 ? '' : `; ${rest.join('; ')}`}`;
}
