/**
 * Everything at once for ten minutes: syncs to all, commands to single devices, devices that come and go, and
 * a worker killed in the first minute. Compares memory at the end with minute two.
 */
import { HttpCaller } from '../load/http-caller.ts';
import { deviceId } from '../load/keys.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { forceSync, whenFinished } from '../site/commands.ts';
import { connectAll, type Fleet, prepareFleet } from '../site/fleet.ts';
import type { Kind, Usage } from '../site/site.ts';

const MINUTES = 10;
const UNICASTS_PER_SECOND = 50;
const SYNC_EVERY_S = 20;
const LEAVE_EVERY_S = 10;
/** One device in this many leaves silently and returns. */
const LEAVERS_EVERY = 50;
const KILL_AT_S = 45;
/** A moment is represented by the median of this window. */
const WINDOW_S = 30;
const KINDS: readonly Kind[] = ['gateway', 'admin', 'redis'];

export const soak: Scenario = {
  name: 'soak',
  title: 'ten minutes of everything: memory at the end against minute two',
  devices: 10_000,
  quickDevices: 500,
  async run(bench) {
    await measureSoak(bench, await prepareFleet(bench));
  },
};

interface Sample {
  atS: number;
  pss: Usage['pss'];
}

export async function measureSoak(bench: Bench, { site, swarm }: Fleet): Promise<void> {
  await connectAll(bench, swarm);
  const { port, token } = site.api;
  const caller = bench.use(new HttpCaller({ port, path: '/v1/commands', token, connections: 8 }));
  const seconds = bench.quick ? 6 : MINUTES * 60;
  const samples: Sample[] = [];
  const began = performance.now();
  let accepted = 0;
  let killed = bench.quick;
  let sync: { id: string; done: Promise<number> } | null = null;
  let open = 0;
  for (let second = 0; second < seconds; second++) {
    for (let call = 0; call < UNICASTS_PER_SECOND; call++) {
      const devices = [deviceId(Math.floor(Math.random() * bench.devices))];
      caller.post(JSON.stringify({ type: 'sync', target: { devices }, collapseKey: null }), (status) => {
        if (status === 202) accepted++;
      });
    }
    if (second % SYNC_EVERY_S === 0) {
      open += (await sync?.done) ?? 0;
      sync = await begin(bench, { site, swarm });
    }
    if (second % LEAVE_EVERY_S === 5)
      await swarm.cut(LEAVERS_EVERY, (second / LEAVE_EVERY_S) % LEAVERS_EVERY);
    if (second >= KILL_AT_S && !killed) {
      killed = true;
      const [worker] = site.workerPids('gw1');
      if (worker !== undefined) process.kill(worker, 'SIGKILL');
      bench.say('a worker was killed');
    }
    // Past messages are not kept for ever.
    for (const kind of ['arrived', 'settled', 'ready', 'lost', 'working']) await swarm.take(kind);
    const atS = (performance.now() - began) / 1_000;
    samples.push({ atS, pss: site.usage().pss });
    if (second % 30 === 29)
      bench.say(`minute ${((second + 1) / 60).toFixed(1)}: ${told(samples.at(-1) as Sample)}`);
    await bench.pause(Math.max(0, (second + 1) * 1_000 - (performance.now() - began)));
  }
  open += (await sync?.done) ?? 0;
  await bench.until(0, () => -caller.open, 100);
  const ready = await swarm.whenReady(bench.devices, 60_000);
  bench.invariant('devices not connected at the end', bench.devices - ready);
  bench.invariant('syncs to all not run by every device', open);
  bench.invariant('commands not accepted', seconds * UNICASTS_PER_SECOND - accepted);
  bench.figure('commands to single devices', 'commands', accepted);
  if (!bench.quick) compare(bench, samples);
}

function compare(bench: Bench, samples: readonly Sample[]): void {
  const end = (samples.at(-1) as Sample).atS;
  for (const kind of KINDS) {
    const early = median(samples, 120, 120 + WINDOW_S, (pss) => pss[kind]);
    const late = median(samples, end - WINDOW_S, end, (pss) => pss[kind]);
    bench.figure(`memory in minute two, ${kind}`, 'MB', early / 1e6);
    bench.figure(`memory at the end, ${kind}`, 'MB', late / 1e6);
  }
  const all = (pss: Usage['pss']): number => KINDS.reduce((sum, kind) => sum + pss[kind], 0);
  const early = median(samples, 120, 120 + WINDOW_S, all);
  const late = median(samples, end - WINDOW_S, end, all);
  bench.figure('memory at the end against minute two, all server processes', 'times', late / early, {
    atMost: 1.05,
  });
}

function median(
  samples: readonly Sample[],
  from: number,
  to: number,
  read: (pss: Usage['pss']) => number,
): number {
  const values = samples.filter(({ atS }) => atS >= from && atS <= to).map(({ pss }) => read(pss));
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function told({ pss }: Sample): string {
  return KINDS.map((kind) => `${kind} ${(pss[kind] / 1e6).toFixed(0)} MB`).join(', ');
}

/** A sync to all; `done` returns how many devices have not run it. */
async function begin(bench: Bench, { site }: Fleet): Promise<{ id: string; done: Promise<number> }> {
  const id = await forceSync(site, { all: true });
  const done = whenFinished(site, id).then(({ counts }) => {
    // The next sync replaces one that did not reach a device in time.
    return bench.devices - counts.succeeded - (counts.superseded ?? 0);
  });
  return { id, done };
}
