import { join } from 'node:path';
import { serve } from './agent.ts';

/** Filled in when the agent is bundled: its version, and the readings of the catalogue, each as JSON. */
declare const NETCHECK_AGENT: {
  readonly version: string;
  readonly commands: readonly string[];
  readonly files: readonly string[];
};

const USAGE = `netcheck-agent ${NETCHECK_AGENT.version}
usage: netcheck-agent collect    read and probe: speak the agent protocol on standard input and output
       netcheck-agent remedy     carry out one approved action, where remedies are installed
`;

const [mode] = process.argv.slice(2);

// The container's command is `netcheck-agent remedy`; what acts on a node is not even loaded for anything else.
if (mode === 'remedy') {
  require(join(__dirname, 'netcheck-remedy.cjs'));
} else if (mode !== 'collect') {
  process.stderr.write(USAGE);
  process.exit(mode === '--help' || mode === '--version' ? 0 : 2);
} else collect();

function collect(): void {
  serve({
    version: NETCHECK_AGENT.version,
    templates: { commands: new Set(NETCHECK_AGENT.commands), files: new Set(NETCHECK_AGENT.files) },
    input: process.stdin,
    output: process.stdout,
    // The agent's container shares the host's process namespace: the root of process 1 is the host's own file system.
    root: '/proc/1/root',
    self: [process.execPath, ...process.execArgv, process.argv[1] ?? '', 'collect'],
    onEnd: (exitCode) => process.exit(exitCode),
  });
}
