/**
 * How many devices one machine holds: first a quarter, then all of them, each time on a gateway of that size,
 * until memory or time runs out. The result says where it ended, and what used the memory.
 */
import { type MemoryUse, memoryUse, pssBytes } from '../measure/processes.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { connectAll, type Fleet, prepareFleet } from '../site/fleet.ts';
import { ingested } from '../site/on-record.ts';

/**
 * A million devices at the default of a minute would be 17,000 heartbeats a second: more than two cores
 * answer beside the load.
 */
const HEARTBEAT = '5m';
const SETTLE_MS = 10_000;
const REST_MS = 30_000;
/** One device takes about this long: key, record, directory entry and connection. */
const MS_PER_DEVICE = 0.9;

export const ceiling: Scenario = {
  name: 'ceiling',
  title: `as many devices as memory holds, heartbeats every ${HEARTBEAT}`,
  devices: 1_000_000,
  quickDevices: 2_000,
  async run(bench) {
    for (const devices of [Math.ceil(bench.devices / 4), bench.devices]) {
      if (bench.timeLeftMs < devices * MS_PER_DEVICE) {
        bench.say(`${devices} devices: not begun, too little time is left`);
        break;
      }
      const fleet = await prepareFleet(bench, {
        devices,
        gatewayFlags: ['--heartbeat-interval', HEARTBEAT],
      });
      const heldAll = await hold(bench, fleet, devices, look(fleet));
      await bench.stop();
      if (!heldAll) break;
    }
  },
};

interface Look {
  gateway: number;
  admin: number;
  redis: number;
  load: number;
  machine: MemoryUse;
}

function look({ site, swarm }: Fleet): Look {
  const { pss } = site.usage();
  return { ...pss, load: pssBytes(swarm.pids), machine: memoryUse() };
}

/** Whether all were held. */
async function hold(bench: Bench, fleet: Fleet, devices: number, empty: Look): Promise<boolean> {
  const { ready, tookMs } = await connectAll(bench, fleet.swarm, devices, () => bench.timeLeftMs <= 0);
  const settled = performance.now();
  if (ready === devices) await ingested(bench, fleet.site, devices);
  await bench.pause(Math.max(0, (bench.quick ? 500 : SETTLE_MS) - (performance.now() - settled)));
  const before = fleet.site.usage();
  const beganRest = performance.now();
  await bench.pause(bench.quick ? 500 : REST_MS);
  const cpuMs = fleet.site.usage().cpuMs.gateway - before.cpuMs.gateway;
  const full = look(fleet);
  const held = (await fleet.swarm.state()).phases.ready ?? 0;
  const what = `${devices} devices`;
  const each = (read: (look: Look) => number): number => (read(full) - read(empty)) / held;
  bench.figure(`${what}: held`, 'devices', held, { atLeast: devices });
  bench.figure(`${what}: connect rate`, 'devices/s', (ready * 1_000) / tookMs);
  bench.figure(
    `${what}: memory per device, gateway`,
    'bytes',
    each(({ gateway }) => gateway),
    { atMost: 2_000 },
  );
  bench.figure(
    `${what}: memory per device, administration server`,
    'bytes',
    each(({ admin }) => admin),
  );
  bench.figure(
    `${what}: memory per device, Redis`,
    'bytes',
    each(({ redis }) => redis),
  );
  bench.figure(
    `${what}: memory per device, load generator`,
    'bytes',
    each(({ load }) => load),
  );
  bench.figure(
    `${what}: memory per device, kernel, both ends`,
    'bytes',
    each(({ machine }) => machine.kernel),
  );
  bench.figure(`${what}: gateway without devices`, 'MB', empty.gateway / 1e6);
  bench.figure(`${what}: memory of the machine in use`, 'GiB', full.machine.used / 2 ** 30);
  bench.figure(
    `${what}: CPU at rest, gateway`,
    '% of a core',
    (cpuMs / (performance.now() - beganRest)) * 100,
  );
  if (held < devices)
    bench.say(
      `the wall: ${held} devices with ${(full.machine.used / 2 ** 30).toFixed(1)} GiB in ` +
        `use${bench.timeLeftMs <= 0 ? ', the time is up' : ''}`,
    );
  return held >= devices;
}
