import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { createDiagnose, type Diagnosed } from '../diagnosis/diagnose.ts';
import { formatProgress } from '../formatters/terminal.ts';
import { nearNames } from '../model/near-names.ts';
import { messageOf } from '../model/text.ts';
import { exitCodeOf, type RunRequest } from '../model/verdict.ts';
import { outputFormat, textOption } from './options.ts';
import { printVerdict, VERDICT_FORMATS } from './output.ts';
import { UsageError } from './usage-error.ts';
import { readVersion } from './version.ts';

/** `netcheck run cluster|node NAME|pod NAMESPACE/NAME`: one diagnosis from the command line. Returns the exit status. */
export async function run(what: string, name: string | undefined, options: Record<string, unknown>): Promise<number> {
  const request = requestOf(what, name);
  const format = outputFormat(options['output'], VERDICT_FORMATS);
  const bundleFile = textOption(options, 'bundle');
  const { verdict, bundle } = await diagnoseOnce(request, options, format === 'text');
  if (bundleFile !== undefined) await writeBundle(bundleFile, bundle);
  await printVerdict(verdict, format);
  return exitCodeOf(verdict.status);
}

/**
 * One diagnosis of the cluster that `--kubeconfig` and `--context` name, ended by a signal; with `isTold` its progress is
 * shown on a terminal. Throws a `UsageError` where it cannot begin.
 */
export async function diagnoseOnce(
  request: RunRequest,
  options: Readonly<Record<string, unknown>>,
  isTold: boolean,
): Promise<Diagnosed> {
  const { createKubernetesCluster } = await import('../cluster/kubernetes/index.ts');
  const opened = createKubernetesCluster({
    kubeconfig: textOption(options, 'kubeconfig'),
    context: textOption(options, 'context'),
    log: { debug: () => {} },
  });
  if (!opened.ok) throw new UsageError(opened.fault.message);
  const cluster = opened.value;
  const abort = new AbortController();
  process.once('SIGINT', () => abort.abort());
  process.once('SIGTERM', () => abort.abort());
  const progress = createProgressLine(isTold && process.stderr.isTTY);
  try {
    const diagnose = createDiagnose({ cluster, version: readVersion(), clock: Date.now });
    const result = await diagnose(request, {
      runId: randomUUID(),
      signal: abort.signal,
      onProgress: (value) => progress.show(formatProgress(value)),
    });
    progress.clear();
    if (!result.ok) throw new UsageError(result.error.message);
    return result.value;
  } finally {
    progress.clear();
    await cluster.close();
  }
}

function requestOf(what: string, name: string | undefined): RunRequest {
  if (what === 'cluster' && name === undefined) return { kind: 'cluster' };
  if (what === 'cluster')
    throw new UsageError(`run cluster takes no name (got "${name}"). To look at one node: netcheck run node ${name}`);
  if (what === 'node' && name !== undefined) return { kind: 'node', node: name };
  if (what === 'node') throw new UsageError('run node needs the name of a node: netcheck run node NAME');
  if (what === 'pod') {
    const [namespace, pod, ...more] = name?.split('/') ?? [];
    if (!namespace || !pod || more.length > 0)
      throw new UsageError('run pod needs a namespace and the name of a pod in it: netcheck run pod NAMESPACE/NAME');
    return { kind: 'pod', namespace, pod };
  }
  const [near] = nearNames(what, ['cluster', 'node', 'pod']);
  throw new UsageError(
    `run ${what}: only cluster, node and pod can be run.${near === undefined ? '' : ` Did you mean run ${near}?`}`,
  );
}

async function writeBundle(file: string, bundle: unknown): Promise<void> {
  const json = JSON.stringify(bundle);
  try {
    await writeFile(file, file.endsWith('.gz') ? await promisify(gzip)(json) : json);
  } catch (error) {
    process.stderr.write(`netcheck: the bundle could not be written: ${messageOf(error)}\n`);
  }
}

/** The last line of a terminal, overwritten as the run goes on; nothing where there is no terminal. */
function createProgressLine(isShown: boolean): { readonly show: (text: string) => void; readonly clear: () => void } {
  return {
    show(text) {
      if (isShown) process.stderr.write(`\r\u001b[K${text}`);
    },
    clear() {
      if (isShown) process.stderr.write('\r\u001b[K');
    },
  };
}
