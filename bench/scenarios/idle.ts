/** Holds authenticated devices: what one costs to admit, to keep, and at rest. */
import { START_SETTLE_MS, sharedNow } from '../measure/clock.ts';
import { percentile } from '../measure/percentiles.ts';
import { memoryUse } from '../measure/processes.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { connectAll, type Fleet, prepareFleet, tellTroubles } from '../site/fleet.ts';
import { ingested } from '../site/on-record.ts';
import type { Kind, Usage } from '../site/site.ts';

const KINDS: readonly Kind[] = ['gateway', 'admin', 'redis'];
/** Long enough for buffers and garbage of the admissions to be released before rest begins. */
const SETTLE_MS = 30_000;
const REST_MS = 45_000;

export const idle: Scenario = {
  name: 'idle',
  title: 'authenticated devices held: admission, memory, rest',
  devices: 50_000,
  quickDevices: 1_000,
  async run(bench) {
    await measureIdle(bench, await prepareFleet(bench));
  },
};

export async function measureIdle(bench: Bench, fleet: Fleet): Promise<void> {
  const { devices } = bench;
  const { site, swarm } = fleet;
  await bench.pause(bench.quick ? 500 : START_SETTLE_MS);
  const empty = site.usage();
  const loadBefore = swarm.cpuMs;
  const machineEmpty = memoryUse().used;
  const began = sharedNow();

  const { ready, tookMs } = await connectAll(bench, swarm);
  await ingested(bench, site, devices);
  const connected = site.usage();
  bench.figure('devices held', 'devices', ready, { atLeast: devices });
  bench.invariant('devices not admitted', devices - ready);
  bench.figure('connect rate', 'devices/s', (ready * 1_000) / tookMs);
  const times = (await swarm.take('ready')).get('') ?? [];
  bench.figure('time until 99 % are connected', 's', (percentile(times, 0.99) - began) / 1_000);
  const perAdmission = (kind: Kind): number => ((connected.cpuMs[kind] - empty.cpuMs[kind]) * 1_000) / ready;
  bench.figure('CPU per admission, gateway', 'µs', perAdmission('gateway'), { atMost: 250 });
  bench.figure('CPU per admission, administration server', 'µs', perAdmission('admin'));
  bench.figure('CPU per admission, Redis', 'µs', perAdmission('redis'));
  bench.figure('CPU per admission, load generator', 'µs', ((swarm.cpuMs - loadBefore) * 1_000) / ready);

  await bench.pause(bench.quick ? 1_000 : SETTLE_MS);
  const before = site.usage();
  const beganRest = performance.now();
  await bench.pause(bench.quick ? 2_000 : REST_MS);
  const after = site.usage();
  const restMs = performance.now() - beganRest;
  memory(bench, empty, after, ready);
  const wholeMachine = (memoryUse().used - machineEmpty) / ready;
  bench.figure('memory per device, kernel and load generator included', 'bytes', wholeMachine);
  const share = (kind: Kind): number => ((after.cpuMs[kind] - before.cpuMs[kind]) / restMs) * 100;
  bench.figure('CPU at rest, gateway', '% of a core', share('gateway'), { atMost: 5 });
  bench.figure('CPU at rest, administration server', '% of a core', share('admin'));
  bench.figure('CPU at rest, Redis', '% of a core', share('redis'));
  const { phases } = await swarm.state();
  bench.invariant('devices lost at rest', ready - (phases.ready ?? 0));
  await tellTroubles(bench, swarm);
}

function memory(bench: Bench, empty: Usage, full: Usage, devices: number): void {
  for (const kind of KINDS) {
    const megabytes = (usage: Usage): string => (usage.pss[kind] / 1e6).toFixed(1);
    bench.say(`${kind}: ${megabytes(empty)} MB without devices, ${megabytes(full)} MB with`);
  }
  const perDevice = (kinds: readonly Kind[]): number =>
    kinds.reduce((sum, kind) => sum + full.pss[kind] - empty.pss[kind], 0) / devices;
  bench.figure('memory per device, gateway', 'bytes', perDevice(['gateway']), { atMost: 2_000 });
  bench.figure('memory per device, administration server', 'bytes', perDevice(['admin']));
  bench.figure('memory per device, Redis', 'bytes', perDevice(['redis']));
  bench.figure('memory per device, all server processes', 'bytes', perDevice(KINDS));
}
