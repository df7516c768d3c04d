import type { Fault } from './fault.ts';

/** Each node of a lab shows this file as its /proc/stat; rewritten in place, so that nobody reads half of it. */
const FILE = '/run/stat';

export const cpuStolen: Fault = {
  name: 'cpu-stolen',
  row: 'N18',
  title: 'the hypervisor of a node is said to give half of its processor time to others',
  placement: 'node',
  async inject(lab, at) {
    const pid = await lab.sh(
      at.node,
      `cp ${FILE} /run/stat.before
sh -c 'n=100000000; while :; do n=$((n + 5)); printf "cpu  $n 100000000 100000000 100000000 0 0 0 $n 0 0\\n#" 1<>${FILE}; sleep 0.1; done' </dev/null >/dev/null 2>&1 &
echo $!`,
    );
    return { pid: pid.trim() };
  },
  async prove(lab, at) {
    const read = () => lab.sh(at.node, 'head -n 1 /proc/stat');
    const first = await read();
    const until = Date.now() + 2000;
    while ((await read()) === first) if (Date.now() > until) throw new Error(`what ${at.node} says must change: ${first}`);
  },
  async heal(lab, at, saved) {
    await lab.sh(at.node, `kill ${saved['pid']}\ncat /run/stat.before >${FILE}\nrm /run/stat.before`);
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['cpu-stolen'], nodes: [] }),
};

export const clockWrong: Fault = {
  name: 'clock-wrong',
  row: 'N18',
  title: 'the clock of a node is said to be ten minutes ahead',
  placement: 'node',
  async inject(lab, at) {
    return {
      btime: (
        await lab.sh(
          at.node,
          `awk '$1 == "btime" { print $2 }' ${FILE}\nawk '$1 == "btime" { $2 += 600 } { print }' ${FILE} >/run/ahead\ncat /run/ahead >${FILE}\nrm /run/ahead`,
        )
      ).trim(),
    };
  },
  async prove(lab, at) {
    const ahead =
      Number(await lab.sh(at.node, `awk '$1 == "btime" { print $2 }' /proc/stat`)) -
      Number(await lab.sh(at.peer, `awk '$1 == "btime" { print $2 }' /proc/stat`));
    if (Math.abs(ahead - 600) > 10) throw new Error(`${at.node} is ${ahead} s ahead, and must be 600 s`);
  },
  async heal(lab, at, saved) {
    await lab.sh(at.node, `sed 's/^btime .*/btime ${saved['btime']}/' ${FILE} >/run/back\ncat /run/back >${FILE}\nrm /run/back`);
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['clock-wrong'], nodes: [] }),
};
