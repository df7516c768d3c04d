import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { stringify } from 'yaml';
import { z } from 'zod';
import type { Verdict } from '../../src/model/verdict.ts';
import type { ActionRecord } from '../../src/model/wire/action.ts';
import { createActionStore } from '../../src/store/actions.ts';
import { readAudit } from '../../src/store/audit.ts';
import { createRunStore } from '../../src/store/runs.ts';
import { type ApprovalKeys, makeApprovalKeys } from '../action.ts';
import { acceptedRun } from '../chaos/count.ts';
import { createLab, type Lab } from '../lab/lab.ts';
import { type NetcheckProcess, startNetcheck } from '../netcheck.ts';
import { startRedis } from '../redis.ts';
import {
  BOT_TOKEN,
  buttonsOf,
  type CommandAnswer,
  createHands,
  SIGNING_SECRET,
  startSlack,
  type TestButton,
  type TestMessage,
  type TestSlack,
  textOf,
} from '../slack.ts';
import { until } from '../until.ts';

const CHANNEL = 'incidents';

/** Who may approve: all but `cara`. */
const PEOPLE = ['ann', 'bob', 'cara', 'dan'] as const;
export type Who = (typeof PEOPLE)[number];

/** How long anything may take on a machine that does much else, in milliseconds. */
const PATIENCE_MS = 60_000;

/**
 * netcheck as it is run: `netcheck all` in a process of its own, over a real Redis, a Slack, and a lab that it knows by
 * a worker's kubeconfig only.
 */
export type Installation = {
  readonly lab: Lab;
  readonly slack: TestSlack;
  readonly redis: Redis;
  /** The key of the bot, whose public half the nodes trust. */
  readonly keys: ApprovalKeys;
  /** The file with the public half that the worker verifies with. */
  readonly publicKeyFile: string;
  /** Starts `netcheck all`, after it was killed. */
  readonly start: () => Promise<void>;
  /** Kills it with SIGKILL. */
  readonly kill: () => Promise<void>;
  /** Types a command; the answer is what only that person sees. */
  readonly command: (text: string, who: Who) => Promise<CommandAnswer>;
  /** Presses a button, and returns what only that person is told. */
  readonly click: (button: TestButton, who: Who) => Promise<string>;
  /** Presses a button that opens a form, and submits a reason there. */
  readonly submit: (button: TestButton, reason: string, who: Who) => Promise<void>;
  /** Types a command and waits for its verdict, and for the message that shows it. */
  readonly diagnose: (text: string, who: Who) => Promise<Diagnosed>;
  /** Waits for a reply in the thread of a message. */
  readonly reply: (root: TestMessage, fits: (message: TestMessage) => boolean, what: string) => Promise<TestMessage>;
  /** Requests the first remedy that a verdict offers, and waits for its card. */
  readonly request: (root: TestMessage, who: Who) => Promise<Card>;
  /** Waits until an action is closed. */
  readonly closed: (id: string) => Promise<ActionRecord>;
  /** The events of an action in the audit, in order. */
  readonly audit: (id: string) => Promise<readonly string[]>;
  readonly close: () => Promise<void>;
};

export type Diagnosed = { readonly run: string; readonly verdict: Verdict; readonly root: TestMessage };

/** A remedy that waits for approval: its message, and the buttons of that. */
export type Card = {
  readonly id: string;
  readonly root: TestMessage;
  readonly text: string;
  readonly approve: TestButton;
  readonly deny: TestButton;
};

/** Sets it all up and starts it. What fails half-way is taken down again. */
export async function createInstallation({
  nodes,
  access = () => ({}),
}: {
  readonly nodes: number;
  /** What netcheck.yaml says under `access`, besides who may approve. */
  readonly access?: (slack: Pick<TestSlack, 'user'>) => object;
}): Promise<Installation> {
  const folder = mkdtempSync(join(tmpdir(), 'netcheck-all-'));
  const ends: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const close = async (): Promise<void> => {
    for (let end = ends.pop(); end !== undefined; end = ends.pop()) await end();
  };
  const owned = async <T extends { readonly close: () => Promise<void> }>(work: Promise<T>): Promise<T> => {
    const part = await work;
    ends.push(part.close);
    return part;
  };

  try {
    const keys = makeApprovalKeys();
    const publicKeyFile = join(folder, 'approval.pub');
    writeFileSync(publicKeyFile, keys.publicKey);
    const [server, slack, lab] = await Promise.all([
      owned(startRedis()),
      owned(startSlack({ users: Object.fromEntries(PEOPLE.map((name) => [name, {}])), channels: { [CHANNEL]: {} } })),
      owned(createLab({ nodes, approvalKey: keys.publicKey }).then((made) => ({ ...made, close: made.down }))),
    ]);
    const redis = new Redis(server.url);
    ends.push(() => redis.disconnect());
    const config = join(folder, 'netcheck.yaml');
    writeFileSync(
      config,
      stringify({
        slack: { port: 0, apiUrl: slack.apiUrl },
        redis: { url: server.url },
        clusters: { lab: { kubeconfig: lab.kubeconfig, context: `${lab.name}-worker` } },
        access: { approve: { users: PEOPLE.filter((name) => name !== 'cara').map(slack.user) }, ...access(slack) },
        limits: { runsPerUser: 99, runsPerCluster: 99 },
        remedies: { enabled: true, publicKeyFile: 'approval.pub', auditFile: 'audit.jsonl' },
      }),
    );
    const environment = {
      NETCHECK_SLACK_SIGNING_SECRET: SIGNING_SECRET,
      NETCHECK_SLACK_BOT_TOKEN: BOT_TOKEN,
      NETCHECK_APPROVAL_KEY: keys.privateKey,
    };
    const runs = createRunStore(redis, 'lab');
    const actions = createActionStore(redis, 'lab');
    let running: NetcheckProcess | null = null;
    let hands: ReturnType<typeof createHands> | null = null;
    ends.push(async () => {
      running?.kill('SIGTERM');
      await running?.exited;
    });

    async function start(): Promise<void> {
      running = startNetcheck(['all', '--config', config], environment);
      const [, port] = await running.said(/"port":(\d+)[^\n]*"bot started"/);
      await running.said(/"worker started"/);
      hands = createHands(slack, Number(port));
    }

    function answering(): ReturnType<typeof createHands> {
      if (hands === null) throw new Error('netcheck does not run');
      return hands;
    }

    async function click(button: TestButton, who: Who): Promise<string> {
      return (await answering().click(button, { user: who, channel: CHANNEL })).said(PATIENCE_MS);
    }

    async function reply(root: TestMessage, fits: (message: TestMessage) => boolean, what: string): Promise<TestMessage> {
      return until(async () => (await slack.thread(CHANNEL, root.ts)).find(fits), what, PATIENCE_MS);
    }

    await start();
    return {
      lab,
      slack,
      redis,
      keys,
      publicKeyFile,
      start,
      kill: async () => {
        await running?.close();
        running = null;
        hands = null;
      },
      command: (text, who) => answering().command(text, { user: who, channel: CHANNEL }),
      click,
      submit: async (button, reason, who) => {
        const before = slack.views.length;
        await answering().click(button, { user: who, channel: CHANNEL });
        const view = View.parse(await until(() => slack.views[before], 'the form', PATIENCE_MS));
        const { text } = await answering().submit(view, reason, { user: who });
        if (text !== '') throw new Error(`not submitted: ${text}`);
      },
      diagnose: async (text, who) => {
        const answer = (await answering().command(text, { user: who, channel: CHANNEL })).text;
        const run = acceptedRun(answer);
        if (run === null) throw new Error(`not accepted: ${answer}`);
        const verdict = await until(
          async () => {
            const read = await runs.verdict(run);
            return read.ok ? read.value : null;
          },
          'the verdict',
          PATIENCE_MS,
        );
        const root = await until(
          async () =>
            (await slack.messages(CHANNEL)).find(
              (message) => message.metadata?.event_payload.run === `lab/${run}` && /^(🟢|🟠|🔴|⚪)/u.test(message.text),
            ),
          'the verdict in Slack',
          PATIENCE_MS,
        );
        return { run, verdict, root };
      },
      reply,
      request: async (root, who) => {
        const [offer] = buttonsOf(root);
        if (offer === undefined) throw new Error(`no remedy is offered: ${textOf(root)}`);
        const said = await click(offer, who);
        const id = /^Requested \(`(a\w+)`\)/.exec(said)?.[1];
        if (id === undefined) throw new Error(`not requested: ${said}`);
        const isCard = (message: TestMessage): boolean => buttonsOf(message).some(({ value }) => value.startsWith(`lab/${id}/d`));
        const card = await reply(root, isCard, 'the card');
        const [approve, deny] = buttonsOf(card);
        if (approve === undefined || deny === undefined) throw new Error('the card has no buttons');
        return { id, root, text: textOf(card), approve, deny };
      },
      closed: (id) =>
        until(
          async () => {
            const read = await actions.get(id);
            return read.ok && read.value?.closedAt != null ? read.value : null;
          },
          'the action to end',
          PATIENCE_MS,
        ),
      audit: async (id) =>
        (await readAudit(redis, 'lab', 0)).flatMap((line) => {
          const { action, event } = Line.parse(JSON.parse(line));
          return action === id ? [event] : [];
        }),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

const View = z.object({ callback_id: z.string(), private_metadata: z.string() });
const Line = z.object({ action: z.string(), event: z.string() });

/** The commands of remedies that took effect on the nodes of a lab, and a way to stop one just before. */
export type Effects = {
  /** Every command that changed something, as `NODE COMMAND`, in order. */
  readonly seen: () => readonly string[];
  /** Lets the next remedy wait once it has claimed its action, where it reads the state again. */
  readonly hold: () => void;
  /** Resolves when a remedy waits there. */
  readonly held: () => Promise<void>;
  readonly release: () => void;
};

/**
 * Puts programs in front of `ip` and `sysctl` in a lab that note what remedies change with them. They are found first by
 * everything that runs there, and become the real ones.
 */
export function watchEffects(lab: Lab): Effects {
  const run = join(lab.directory, 'run');
  const program = (name: string, first: string): void =>
    writeFileSync(
      join(run, 'bin', name),
      `#!/bin/sh
read -r node </etc/hostname
${first}
PATH=\${PATH#/run/lab/bin:}
exec ${name} "$@"
`,
      { mode: 0o755 },
    );
  program('sysctl', 'case "$*" in "-w "*) echo "$node sysctl $*" >>/run/lab/effects ;; esac');
  // Only one of those who ask at once gets to rename the file, and waits.
  program(
    'ip',
    `case "$*" in
  "neighbour flush "*) echo "$node ip $*" >>/run/lab/effects ;;
  "-j -4 netconf show")
    if [ -e /run/lab/hold ] && mv /run/lab/hold /run/lab/held 2>/dev/null; then
      while [ -e /run/lab/held ]; do sleep 0.05; done
    fi
    ;;
esac`,
  );
  return {
    seen: () => {
      const file = join(run, 'effects');
      return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
    },
    hold: () => writeFileSync(join(run, 'hold'), ''),
    held: async () => void (await until(() => existsSync(join(run, 'held')), 'a remedy to be held', PATIENCE_MS)),
    release: () => rmSync(join(run, 'held')),
  };
}
