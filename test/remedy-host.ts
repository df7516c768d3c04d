import type { Host } from '../src/remedies/remedy.ts';
import type { Stage } from './netns/stage.ts';

/**
 * A place where remedies act that says what a test has it say: the output of each command, by its words, and the texts of
 * files or objects, by their paths. `ran` are the commands that were run, in order; one without an output throws.
 */
export function fakeHost(
  outputs: Readonly<Record<string, string>>,
  texts: Readonly<Record<string, string>> = {},
): { readonly host: Host; readonly ran: (readonly string[])[] } {
  const ran: (readonly string[])[] = [];
  return {
    ran,
    host: {
      async run(argv) {
        ran.push(argv);
        const output = outputs[argv.join(' ')];
        if (output === undefined) throw new Error(`nothing is known of '${argv.join(' ')}'`);
        return output;
      },
      readText: async (path) => texts[path] ?? null,
    },
  };
}

/** A place where remedies act that is a network namespace of a stage: commands run there, and there are no files. */
export function stageHost(stage: Stage, namespace: string): Host {
  return {
    async run(argv) {
      const { exitCode, stdout, stderr } = await stage.run(namespace, argv);
      if (exitCode !== 0) throw new Error(`${argv.join(' ')}: exit status ${exitCode} ${stderr.trim()}`);
      return stdout;
    },
    readText: async () => null,
  };
}

/** Names of devices that are options, ways to other files, other words of a command, or too long. */
export const HOSTILE_DEVICES: readonly string[] = [
  '',
  '-all',
  '-a',
  '.',
  '..',
  '../../kernel',
  'eth0/../all',
  'eth0=1',
  'eth0 up',
  'eth0\n',
  'eth0;reboot',
  '$(reboot)',
  'a-name-that-is-too-long',
];
