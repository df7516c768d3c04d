import { type CAC, type Command, cac } from 'cac';
import { nearNames } from '../model/near-names.ts';
import { UsageError } from './usage-error.ts';
import { readVersion } from './version.ts';

/*
 * Every command loads its own rooms, and only those: a replay needs no cluster client, a run needs no Slack library.
 */

const cli = cac('netcheck');

cli
  .command(
    'run <cluster|node|pod> [name]',
    'Diagnose a cluster, one node or one pod of it: run cluster, run node NAME, run pod NAMESPACE/NAME',
  )
  .option('--kubeconfig <file>', 'Kubeconfig of the cluster (default: $KUBECONFIG, ~/.kube/config, or the pod it runs in)')
  .option('--context <name>', 'Context of the kubeconfig')
  .option('--output <format>', 'text, json or slack', { default: 'text' })
  .option('--bundle <file>', 'Write everything that was collected to this file, for replay (gzipped if its name ends in .gz)')
  .example('  netcheck run cluster --kubeconfig prod.yaml')
  .example('  netcheck run node worker-3 --context prod --output json')
  .example('  netcheck run pod shop/checkout-5d8c7b9f4-x2x9k')
  .action(async (what: string, name: string | undefined, options: Record<string, unknown>) => {
    const { run } = await import('./run.ts');
    process.exitCode = await run(what, name, options);
  });

cli
  .command('replay <file>', 'Compute the verdict of a bundle again, without a cluster: FILE is what run --bundle wrote')
  .option('--output <format>', 'text, json or slack', { default: 'text' })
  .action(async (file: string, options: Record<string, unknown>) => {
    const { replay } = await import('./replay.ts');
    process.exitCode = await replay(file, options);
  });

const CONFIG = ['--config <file>', 'The configuration; secrets are in the environment', { default: 'netcheck.yaml' }] as const;
const OPS_PORT = ['--ops-port <number>', 'Serve /healthz, /readyz and /metrics on this port, instead of ops.port'] as const;
const CLUSTER = ['--cluster <name>', 'Only this one of the configured clusters'] as const;

cli
  .command('bot', 'Serve Slack: take commands and clicks, show verdicts')
  .option(...CONFIG)
  .option(...OPS_PORT)
  .action((options: Record<string, unknown>) => serveAs('bot', options));

cli
  .command('worker', 'Serve clusters: diagnose them and carry out approved remedies')
  .option(...CONFIG)
  .option(...CLUSTER)
  .option(...OPS_PORT)
  .option('--queue <name>', 'Only one kind of work: diagnose, or remediate')
  .action((options: Record<string, unknown>) => serveAs('worker', options));

cli
  .command('all', 'The bot and a worker for each cluster in one process')
  .option(...CONFIG)
  .option(...CLUSTER)
  .option(...OPS_PORT)
  .action((options: Record<string, unknown>) => serveAs('all', options));

cli
  .command(
    'audit <verify|show|export>',
    'audit verify: whether the audit is whole; audit show: what is in it; audit export: the same for other programs',
  )
  .option(...CONFIG)
  .option(...CLUSTER)
  .option('--format <format>', 'export: jsonl, the lines as they are kept, or csv (default: jsonl)')
  .option('--since <time>', 'export: only lines from then on: 24h, 7d, 2026-11-20, 2026-11-20T09:30:00Z')
  .action(async (task: string, options: Record<string, unknown>) => {
    const { audit } = await import('./audit.ts');
    process.exitCode = await audit(task, options);
  });

cli
  .command('policy <explain>', 'Who may do what, and by which line of the configuration: policy explain')
  .option(...CONFIG)
  .option(...CLUSTER)
  .option('--user <id>', 'Whom it is about, by Slack user id')
  .option('--action <name>', 'What they want to do: diagnose, request, approve or break-glass')
  .option('--remedy <id>', 'With which remedy (default: every one)')
  .option('--channel <id>', 'In which channel, by its id')
  .example('  netcheck policy explain --user U0123456789 --action approve --cluster prod --remedy set-ip-forward')
  .action(async (task: string, options: Record<string, unknown>) => {
    const { policy } = await import('./policy.ts');
    process.exitCode = policy(task, options);
  });

cli
  .command(
    'remedy <plan> [code]',
    'What could be done about what is wrong, exactly as it would run: remedy plan [CODE]; changes nothing',
  )
  .option('--kubeconfig <file>', 'Kubeconfig of the cluster (default: $KUBECONFIG, ~/.kube/config, or the pod it runs in)')
  .option('--context <name>', 'Context of the kubeconfig')
  .option('--from <bundle>', 'Plan from what run --bundle wrote, without a cluster')
  .option('--output <format>', 'text or json', { default: 'text' })
  .example('  netcheck remedy plan --kubeconfig prod.yaml')
  .example('  netcheck remedy plan ip-forward-off --from incident.json.gz')
  .action(async (task: string, code: string | undefined, options: Record<string, unknown>) => {
    const { remedy } = await import('./remedy.ts');
    process.exitCode = await remedy(task, code, options);
  });

cli
  .command('config', 'What is configured, or what is wrong with it and where')
  .option(...CONFIG)
  .option('--for <role>', 'What is to be started with it: bot, worker or all', { default: 'all' })
  .action(async (options: Record<string, unknown>) => {
    const { showConfig } = await import('./show-config.ts');
    process.exitCode = showConfig(options);
  });

cli
  .command('doctor', 'Look at an installation: what is wrong with it, and what to type for each failure; changes nothing')
  .option(...CONFIG)
  .option(...CLUSTER)
  .option('--for <role>', 'What is installed: bot, worker or all', { default: 'all' })
  .option('--output <format>', 'text or json', { default: 'text' })
  .action(async (options: Record<string, unknown>) => {
    const { doctor } = await import('./doctor/doctor.ts');
    process.exitCode = await doctor(options);
    // Everything has been said; a connection that still hangs must not hold the process.
    setTimeout(() => process.exit(), 500).unref();
  });

cli
  .command('demo', 'Watch a really broken network be diagnosed and healed, with a Slack, a Redis and a cluster of its own')
  .option('--headless', 'Stop after the story; the exit status says whether it went well')
  .option('--recording', 'Play a recording instead of building a network')
  .option('--port <number>', 'Port of the page on localhost', { default: 4390 })
  .action(async (options: Record<string, unknown>) => {
    const { demo } = await import('./demo/demo.ts');
    process.exit(await demo(options));
  });

cli.command('help [command]', 'What netcheck can do, or how one command is used').action((name: string | undefined) => {
  const command = cli.commands.find((one) => one.name === name);
  if (name !== undefined && command === undefined) throw new UsageError(unknownCommand(name));
  (command ?? cli.globalCommand).outputHelp();
});

cli.help(helpText);
cli.version(readVersion());

/** Commands whose exit status says more than whether they could be carried out. */
const EXIT_STATUS: Readonly<Record<string, string>> = {
  run: '0 healthy, 1 failed or degraded, 2 inconclusive, 3 wrong usage',
  replay: '0 healthy, 1 failed or degraded, 2 inconclusive, 3 wrong usage',
  audit: '0 whole, 1 not whole, 2 it cannot be read, 3 wrong usage',
  policy: '0 allowed, 1 refused, 2 it depends on what only Slack knows or on the remedy, 3 wrong usage',
  remedy: '0 there is a plan, 1 there is none, 3 wrong usage',
  config: '0 it can be used, 3 it cannot',
  doctor: '0 nothing fails, 1 something fails, 3 wrong usage',
};

type HelpSections = Parameters<NonNullable<Parameters<CAC['help']>[0]>>[0];

/** The help of a command, or of all, with its exit status and without a list of how to ask for the help of each. */
function helpText(sections: HelpSections): HelpSections {
  const name = cli.matchedCommandName === 'help' ? cli.args[0] : cli.matchedCommandName;
  const shown = cli.commands.find((command) => command.name === name);
  const status = EXIT_STATUS[name ?? ''];
  const [title, ...rest] = sections
    .filter((section) => section.title?.startsWith('For more info') !== true)
    .map((section) => ({ ...section, body: section.body.replaceAll(/ +$/gm, '') }));
  return [
    ...(title === undefined ? [] : [title]),
    ...(shown === undefined ? [] : [{ body: shown.description }]),
    ...rest,
    ...(status === undefined ? [] : [{ title: 'Exit status', body: `  ${status}` }]),
    ...(shown === undefined
      ? [{ body: 'netcheck help COMMAND tells how a command is used. From a clone: npm run -s netcheck -- COMMAND' }]
      : []),
  ];
}

function unknownCommand(typed: string): string {
  const names = cli.commands.map(({ name }) => name);
  const [near] = nearNames(typed, names, 1);
  const hint = near === undefined ? `The commands are ${names.join(', ')}.` : `Did you mean netcheck ${near}?`;
  return `there is no command "${typed}". ${hint} netcheck help tells more.`;
}

/** What was wrong with the options or arguments of a command, and how it is used. The library says only the first half. */
function wrongUsage(message: string, { name, rawName, options }: Command): string {
  const [option] = /(?<=^Unknown option `)[^`]+/.exec(message) ?? [];
  if (option !== undefined) {
    const known = [...options, ...cli.globalCommand.options].map((one) => `--${one.name}`);
    const [near] = nearNames(option, known, 1);
    const hint = near === undefined ? `It takes ${known.join(', ')}.` : `Did you mean ${near}?`;
    return `netcheck ${name} has no option ${option}. ${hint}`;
  }
  const [valueless] = /(?<=^option `)[^`]+(?=` value is missing)/.exec(message) ?? [];
  if (valueless !== undefined) return `${valueless} needs a value. netcheck help ${name} tells more.`;
  const surplus = /(?<=^Unused args: ).*/s.exec(message)?.[0].replaceAll('`', '"');
  if (surplus !== undefined) return `${surplus} is too much: it is netcheck ${rawName}.`;
  return `something is missing: it is netcheck ${rawName}. netcheck help ${name} tells more.`;
}

async function serveAs(role: 'bot' | 'worker' | 'all', options: Record<string, unknown>): Promise<void> {
  const { serve } = await import('./serve.ts');
  process.exitCode = await serve(role, options);
  // What has been stopped gracefully leaves nothing open; a connection that hangs all the same must not hold the process.
  setTimeout(() => process.exit(), 2_000).unref();
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  // Whoever read the output has gone (`netcheck … | head`): the rest is for nobody.
  if (!process.emit('SIGTERM', 'SIGTERM')) process.exit(141);
});

try {
  cli.parse(process.argv, { run: false });
  if (cli.matchedCommand === undefined && cli.options['help'] !== true && cli.options['version'] !== true) {
    const [typed] = cli.args;
    if (typed !== undefined) throw new UsageError(unknownCommand(typed));
    const names = cli.commands.map(({ rawName }) => `netcheck ${rawName}`).join('\n  ');
    throw new UsageError(`no command was given. These are the commands:\n  ${names}\nnetcheck help tells more.`);
  }
  await cli.runMatchedCommand();
} catch (error) {
  if (!(error instanceof Error) || !['UsageError', 'CACError'].includes(error.name)) throw error;
  const { matchedCommand: command } = cli;
  const message = error instanceof UsageError || command === undefined ? error.message : wrongUsage(error.message, command);
  process.stderr.write(`netcheck: ${message}\n`);
  process.exitCode = 3;
}
