import { parseArgs } from 'node:util';

/*
 * Benches print ratios against a named baseline that is measured in the same run. Nothing here asserts a time.
 */

const USAGE = `usage:
  npm run -s bench -- triage [--nodes 6]    a diagnosis against the operators' own loops, healthy and with a node cut off
  npm run -s bench -- node [--nodes 6]      what a run costs one node: processor time, and how long its exec lasts
  npm run -s bench -- ack [--concurrent 100] [--bursts 20]    how fast a slash command is acknowledged
  npm run -s bench -- fresh [--test]        the demo, and npm test, in a bare clone with an empty npm cache: time and download
`;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    nodes: { type: 'string', default: '6' },
    concurrent: { type: 'string', default: '100' },
    bursts: { type: 'string', default: '20' },
    test: { type: 'boolean', default: false },
  },
});

switch (positionals[0]) {
  case 'triage': {
    const { benchTriage } = await import('./triage.ts');
    process.stdout.write(await benchTriage(Number(values.nodes)));
    break;
  }
  case 'node': {
    const { benchNode } = await import('./node.ts');
    process.stdout.write(await benchNode(Number(values.nodes)));
    break;
  }
  case 'ack': {
    const { benchAck } = await import('./ack.ts');
    const times = await benchAck({ bursts: Number(values.bursts), concurrent: Number(values.concurrent), pauseMs: 500 });
    const { commands, concurrent, accepted, p50Ms, p99Ms, maxMs } = times;
    process.stdout.write('| commands | at once | accepted | p50 ms | p99 ms | max ms |\n| --- | --- | --- | --- | --- | --- |\n');
    process.stdout.write(
      `| ${commands} | ${concurrent} | ${accepted} | ${p50Ms.toFixed(0)} | ${p99Ms.toFixed(0)} | ${maxMs.toFixed(0)} |\n`,
    );
    break;
  }
  case 'fresh': {
    const { benchFresh } = await import('./fresh.ts');
    process.stdout.write(await benchFresh(values.test));
    break;
  }
  default:
    process.stderr.write(USAGE);
    process.exitCode = 3;
}
