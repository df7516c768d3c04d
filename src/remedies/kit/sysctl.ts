import { z } from 'zod';
import { defineRemedy, type Host, type Remedy } from '../remedy.ts';

/** Settings of the kernel below /proc/sys by their paths there, and the text of the file that keeps them; null where there is none. */
const State = z.strictObject({ values: z.record(z.string(), z.string().nullable()), file: z.string().nullable() });
export type SysctlState = z.output<typeof State>;

type Values = SysctlState['values'];

export type SysctlRemedy<P> = Pick<Remedy<P, SysctlState>, 'id' | 'title' | 'risk' | 'riskClass' | 'params'> & {
  /** What is set, in this order; the keys as paths below /proc/sys, so that a device's own dots stay part of its name. */
  readonly values: (params: P) => Readonly<Record<string, string>>;
  /** Why nothing is to be done any more with these values of what is set and of `beside`. */
  readonly obsolete: (params: P, values: Values) => string | null;
  /** What is read as well, since it decides with the others. */
  readonly beside?: readonly string[];
  /** The file in /etc/sysctl.d that keeps the values; without it they last until the next boot. */
  readonly file?: string;
};

/** A remedy that sets something of the running kernel, and where it has a file, keeps it there for later boots. */
export function sysctlRemedy<P>(options: SysctlRemedy<P>): Remedy<P, SysctlState> {
  const { id, title, risk, riskClass, params, values, obsolete, beside = [], file } = options;
  const keep = (text: string | null): readonly string[][] => {
    if (file === undefined) return [];
    return [text === null ? ['remove-file', file] : ['write-file', file, text]];
  };
  return defineRemedy({
    id,
    place: 'node',
    title,
    risk,
    riskClass,
    undo: `The ${file === undefined ? 'value' : 'values and the file'} from before, by commands that the thread shows afterwards.`,
    ...(file === undefined ? { isTransient: true } : {}),
    params,
    state: State,
    // The file first: where it cannot be written, nothing has been changed.
    commands: (given) => [
      ...(file === undefined ? [] : keep(dropIn(id, values(given)))),
      ...Object.entries(values(given)).map(([key, value]) => setting(key, value)),
    ],
    async read(given, host) {
      const read: Values = {};
      for (const key of [...Object.keys(values(given)), ...beside]) read[key] = await readSetting(key, host);
      return { values: read, file: file === undefined ? null : await host.readText(file) };
    },
    obsolete: (given, state) => obsolete(given, state.values),
    describe: (_given, state) => [
      ...Object.entries(state.values).map(([key, value]) => ({
        source: `/proc/sys/${key}`,
        text: value ?? 'no such setting',
      })),
      ...(file === undefined ? [] : [{ source: file, text: state.file === null ? 'no such file' : settingsOf(state.file) }]),
    ],
    undoCommands: (given, prior, after) => [
      ...Object.keys(values(given))
        .toReversed()
        .flatMap((key) => {
          const value = prior.values[key] ?? null;
          return value === null || value === after.values[key] ? [] : [setting(key, value)];
        }),
      ...(prior.file === after.file ? [] : keep(prior.file)),
    ],
  });
}

/** The command that sets one setting. */
export function setting(key: string, value: string): string[] {
  return ['sysctl', '-w', `${key}=${value}`];
}

/** A setting with its words one space apart; null where the kernel has none of that name. */
async function readSetting(key: string, host: Host): Promise<string | null> {
  const text = await host.readText(`/proc/sys/${key}`);
  return text === null ? null : text.trim().replaceAll(/\s+/g, ' ');
}

/** The text of the file that keeps values: who wrote it, how to be rid of it, and what sysctl.d(5) reads. */
function dropIn(id: string, values: Readonly<Record<string, string>>): string {
  return `# Written by netcheck (remedy ${id}), so that it holds after the next boot as well.
# To undo it: "Request undo" under netcheck's report. By hand: remove this file, and set what was there before with sysctl -w.
${Object.entries(values)
  .map(([key, value]) => `${key.replaceAll('/', '.')} = ${value}\n`)
  .join('')}`;
}

/** The lines of such a file that set something. */
function settingsOf(text: string): string {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '' && !/^[#;]/.test(line)).join('; ') || 'sets nothing';
}
