/**
 * Devices stop reading while much is sent to them: how much the server buffers for them, and what the others
 * notice. The same messages go out twice, the first time with all devices reading.
 */
import { sharedNow } from '../measure/clock.ts';
import { percentile } from '../measure/percentiles.ts';
import { pssBytes } from '../measure/processes.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { forceSync, sendMessage, whenFinished } from '../site/commands.ts';
import { connectAll, type Fleet, prepareFleet } from '../site/fleet.ts';
import { FEW, FEW_EVERY } from '../site/seed.ts';

/** One in so many devices stalls; all of them are in the group that gets the messages. */
const STALLED_EVERY = FEW_EVERY * 4;
const MESSAGE_BYTES = 30_000;
/** More than the kernel's buffers and the gateway's bound hold together. */
const MESSAGES = 60;
const SYNCS = 3;
const SAMPLE_MS = 250;
const MIB = 2 ** 20;

export const slow: Scenario = {
  name: 'slow',
  title: 'one device in a hundred stops reading during fan-outs',
  devices: 50_000,
  quickDevices: 1_000,
  async run(bench) {
    await measureSlow(bench, await prepareFleet(bench));
  },
};

export async function measureSlow(bench: Bench, fleet: Fleet): Promise<void> {
  const { swarm } = fleet;
  await connectAll(bench, swarm);
  await bench.pause(bench.quick ? 200 : 3_000);
  // One fan-out before the comparison, so that buffers grow to their working size.
  if (!bench.quick) await fanouts(bench, fleet, 0);
  const reading = await fanouts(bench, fleet, 0);
  const stalled = await swarm.stall(STALLED_EVERY);
  const stalling = await fanouts(bench, fleet, stalled);
  await swarm.stall(0);
  bench.figure('devices that stopped reading', 'devices', stalled);
  bench.figure('peak memory of the gateway, all reading', 'MiB', reading.peak / MIB);
  bench.figure('peak memory of the gateway, some stalled', 'MiB', stalling.peak / MIB);
  bench.figure('memory beyond the same run without them', 'MiB', (stalling.peak - reading.peak) / MIB, {
    atMost: 64,
  });
  bench.figure('99 % of the others reached by a sync, all reading', 'ms', reading.p99);
  bench.figure('99 % of the others reached by a sync, some stalled', 'ms', stalling.p99);
  bench.invariant('syncs that did not reach a device that reads', reading.missed + stalling.missed);
  // Stalled devices read again, return if their connection was closed, and get what they missed.
  const ready = await swarm.whenReady(bench.devices, 120_000);
  bench.invariant('stalled devices not back', bench.devices - ready);
  let lost = 0;
  for (const id of stalling.commands) {
    const { counts } = await whenFinished(fleet.site, id);
    lost += counts.total - counts.succeeded - (counts.superseded ?? 0);
  }
  bench.invariant('executions lost', lost);
  const { counters } = await swarm.state();
  bench.figure('connections closed for not reading', 'closings', counters['lost 4204'] ?? 0);
}

interface Outcome {
  peak: number;
  /** Of the syncs in the median, milliseconds. */
  p99: number;
  missed: number;
  commands: string[];
}

async function fanouts(bench: Bench, { site, swarm }: Fleet, stalled: number): Promise<Outcome> {
  const pids = site.pids().gateway;
  let peak = 0;
  const sampler = setInterval(() => {
    peak = Math.max(peak, pssBytes(pids));
  }, SAMPLE_MS);
  const commands: string[] = [];
  const p99s: number[] = [];
  let missed = 0;
  const messages = bench.quick ? 6 : MESSAGES;
  const syncs = bench.quick ? 1 : SYNCS;
  try {
    for (let round = 0; round < syncs; round++) {
      for (let message = 0; message < messages / syncs; message++) {
        commands.push(await sendMessage(site, { group: FEW }, MESSAGE_BYTES));
      }
      const began = sharedNow();
      const id = await forceSync(site, { all: true });
      commands.push(id);
      const wanted = bench.devices - stalled;
      await bench.until(wanted, () => swarm.count('arrived', id));
      const times = (await swarm.take('arrived')).get(id) ?? new Float64Array();
      missed += Math.max(0, wanted - times.length);
      p99s.push(percentile(times, 0.99) - began);
    }
    await bench.pause(bench.quick ? 200 : 1_000);
  } finally {
    clearInterval(sampler);
  }
  const median = p99s.sort((a, b) => a - b)[Math.floor(p99s.length / 2)] as number;
  return { peak, p99: median, missed, commands };
}
