import { cac } from 'cac';
import { UsageError } from './usage-error.ts';
import { readVersion } from './version.ts';

/*
 * Every command loads its own rooms, and only those: a replay needs no cluster client, a run needs no Slack library.
 */

const cli = cac('netcheck');

cli
  .command('run <what> [name]', 'Diagnose a cluster, or one node of it: run cluster, run node NAME')
  .option('--kubeconfig <file>', 'Kubeconfig of the cluster (default: $KUBECONFIG, ~/.kube/config, or the pod it runs in)')
  .option('--context <name>', 'Context of the kubeconfig')
  .option('--output <format>', 'text, json or slack', { default: 'text' })
  .option('--bundle <file>', 'Write everything that was collected to this file, for replay')
  .action(async (what: string, name: string | undefined, options: Record<string, unknown>) => {
    const { run } = await import('./run.ts');
    process.exitCode = await run(what, name, options);
  });

cli
  .command('replay <file>', 'Compute the verdict of a bundle again, without a cluster')
  .option('--output <format>', 'text, json or slack', { default: 'text' })
  .action(async (file: string, options: Record<string, unknown>) => {
    const { replay } = await import('./replay.ts');
    process.exitCode = await replay(file, options);
  });

cli.help();
cli.version(readVersion());

try {
  cli.parse(process.argv, { run: false });
  if (cli.matchedCommand === undefined && cli.options['help'] !== true && cli.options['version'] !== true) {
    const names = cli.commands.map(({ rawName }) => `netcheck ${rawName}`).join('\n  ');
    const [typed] = cli.args;
    throw new UsageError(
      `${typed === undefined ? 'No command was given.' : `There is no command "${typed}".`} These are the commands:\n  ${names}`,
    );
  }
  await cli.runMatchedCommand();
} catch (error) {
  if (error instanceof UsageError || (error instanceof Error && error.name === 'CACError')) {
    process.stderr.write(`netcheck: ${error.message}\n`);
    process.exitCode = 3;
  } else throw error;
}
