import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { PLAN } from '../action.ts';
import { createApprovedActions } from './approved-actions.ts';

/*
 * A worker whose audit is on a disk that is full: a small file system of its own, mounted where it was started. Arguments:
 * the URL of Redis, a folder for files, the folder of the small file system, and how many remedies are tried.
 */

const [, , url = '', folder = '', small = '', times = '0'] = process.argv;
const redis = new Redis(url);
const approved = createApprovedActions(redis, folder);
const ballast = join(small, 'ballast');
const reasons = new Set<string>();
let acted = 0;
try {
  for (;;) writeFileSync(ballast, 'x'.repeat(1024), { flag: 'a' });
} catch {
  // Now it is full.
}
for (let time = 0; time < Number(times); time += 1) {
  const id = await approved.approve(PLAN);
  acted += (await approved.execute(id, join(small, `audit-${time}.jsonl`))).length;
  const read = await approved.actions.get(id);
  const record = read.ok ? read.value : null;
  reasons.add(`${record?.state}: ${/ENOSPC/.exec(record?.reason ?? '')?.[0] ?? record?.reason}`);
}
process.stdout.write(JSON.stringify({ acted, isFull: existsSync(ballast), reasons: [...reasons] }));
redis.disconnect();
