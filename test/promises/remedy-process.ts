import { PassThrough } from 'node:stream';
import { serveRemedy } from '../../src/agent/remedy.ts';
import { createFrameReader, MAX_FRAME_BYTES } from '../../src/model/wire/frames.ts';
import { RemedyReport } from '../../src/model/wire/remedy.ts';

/*
 * The remedy agent of a node in a process of its own, as it runs there, that dies by SIGKILL at one step: when its order
 * comes, or around one of its reports, just before it is written or just after. Arguments: root, node, public key, step.
 */

const [, , root = '', node = '', publicKey = '', step = ''] = process.argv;

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

const frames = createFrameReader(MAX_FRAME_BYTES);
const output = new PassThrough();
output.on('data', (chunk: Buffer) => {
  const values = frames.push(chunk);
  const types = 'kind' in values ? [] : values.map((value) => RemedyReport.parse(value).type);
  if (types.some((type) => step === `before ${type}`)) die();
  process.stdout.write(chunk, () => {
    if (types.some((type) => step === `after ${type}`)) die();
  });
});
const input = new PassThrough();
process.stdin.on('data', (chunk: Buffer) => {
  if (step === 'before claimed') die();
  input.write(chunk);
});
process.stdin.on('end', () => input.end());
process.exitCode = await serveRemedy({ input, output, root, node, publicKey, clock: Date.now });
