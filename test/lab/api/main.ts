import { z } from 'zod';
import { messageOf } from '../../../src/model/text.ts';
import { KubeObject } from './objects.ts';
import { createApiServer, recreateDaemonSetPods, Token } from './server.ts';

/** What is read from standard input: one JSON object. */
const Input = z.strictObject({
  listen: z.string().regex(/^.*:\d+$/, 'write ADDRESS:PORT'),
  socket: z.string().optional(),
  certificateDir: z.string().optional(),
  objects: z.array(KubeObject),
  tokens: z.array(Token).min(1),
  kubelets: z.record(z.string(), z.strictObject({ ip: z.string(), port: z.int().default(10250) })).default({}),
  /** DaemonSets whose pods are ready only when somebody says so; each new one is a line of standard output. */
  starting: z.array(z.string()).default([]),
  nodeMonitorSeconds: z.number().positive().default(40),
});

/** Resolves with the first JSON object on standard input, which stays open after it. */
function readInput(): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let text = '';
    process.stdin.setEncoding('utf8');
    process.stdin.on('data', (chunk: string) => {
      text += chunk;
      if (!text.trimEnd().endsWith('}')) return;
      try {
        resolve(JSON.parse(text));
      } catch {
        // A brace in the middle of the object: the rest is still to come.
      }
    });
    process.stdin.on('end', () => {
      try {
        resolve(JSON.parse(text));
      } catch (error) {
        reject(new Error(`standard input is not one JSON object: ${messageOf(error)}`));
      }
    });
  });
}

async function main(): Promise<void> {
  const ended = new Promise<void>((resolve) => process.stdin.on('end', resolve));
  const input = Input.safeParse(await readInput());
  if (!input.success) throw new Error(`standard input: ${z.prettifyError(input.error)}`);
  const { starting, ...options } = input.data;
  const server = await createApiServer({
    ...options,
    onDelete: (object, api) => {
      const recreated = recreateDaemonSetPods(object, api, starting);
      if (recreated !== null && starting.includes(recreated.owner)) process.stdout.write(`${JSON.stringify(recreated)}\n`);
    },
  });
  process.stdout.write(`${JSON.stringify({ ready: true, ca: server.ca })}\n`);
  await ended;
  await server.close();
}

main().catch((error: unknown) => {
  process.stderr.write(`api server double: ${messageOf(error)}\n`);
  process.exitCode = 1;
  process.stdin.destroy();
});
