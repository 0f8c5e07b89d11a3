/**
 * Commands to single devices at a given rate: the time from API to device, and from API until the device
 * learns that its result is stored (`settled`, after the commit). Times count from when a command was due, so
 * that delays of a slow server show.
 */
import { HttpCaller } from '../load/http-caller.ts';
import { deviceId } from '../load/keys.ts';
import { sharedNow } from '../measure/clock.ts';
import { percentile } from '../measure/percentiles.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { connectAll, type Fleet, prepareFleet } from '../site/fleet.ts';

const RATE = 1_000;
const MEASURE_S = 30;
/** Candidates for the highest sustained rate, and how long each is held. */
const STEPS = [500, 1_000, 1_500, 2_000, 2_500, 3_000, 3_500, 4_000, 5_000, 6_000, 8_000];
const STEP_S = 8;
/** A rate is sustained if nearly all results are stored this soon after the last command. */
const SUSTAINED_MS = 1_000;
const TICK_MS = 2;

export const unicast: Scenario = {
  name: 'unicast',
  title: 'commands to single devices: latency at 1,000 a second, and the highest rate sustained',
  devices: 10_000,
  quickDevices: 500,
  async run(bench) {
    await measureUnicast(bench, await prepareFleet(bench));
  },
};

export async function measureUnicast(bench: Bench, fleet: Fleet): Promise<void> {
  await connectAll(bench, fleet.swarm);
  const caller = bench.use(
    new HttpCaller({
      port: fleet.site.api.port,
      path: '/v1/commands',
      token: fleet.site.api.token,
      connections: 64,
    }),
  );
  await bench.pause(bench.quick ? 200 : 3_000);
  const rate = bench.quick ? 50 : RATE;
  if (!bench.quick) await hold(bench, fleet, caller, rate, 2);
  const before = fleet.site.usage();
  const steady = await hold(bench, fleet, caller, rate, bench.quick ? 2 : MEASURE_S);
  const after = fleet.site.usage();
  latencies(bench, `at ${rate}/s, API to device`, steady.arrived, { atMost: 10 });
  latencies(bench, `at ${rate}/s, API to settled`, steady.settled);
  for (const kind of ['gateway', 'admin', 'redis'] as const) {
    const each = ((after.cpuMs[kind] - before.cpuMs[kind]) * 1_000) / steady.accepted;
    bench.figure(`CPU per command, ${kind}`, 'µs', each);
  }
  bench.invariant('commands accepted and never run', steady.accepted - steady.arrived.length);
  bench.invariant('commands accepted and never settled', steady.accepted - steady.settled.length);
  bench.invariant('commands not accepted', steady.offered - steady.accepted);
  if (!bench.quick) await sustained(bench, fleet, caller);
}

function latencies(bench: Bench, what: string, times: Float64Array, p99?: { atMost: number }): void {
  bench.figure(`${what}, p50`, 'ms', percentile(times, 0.5));
  bench.figure(`${what}, p99`, 'ms', percentile(times, 0.99), p99);
  bench.figure(`${what}, p99.9`, 'ms', percentile(times, 0.999));
}

async function sustained(bench: Bench, fleet: Fleet, caller: HttpCaller): Promise<void> {
  let best = 0;
  for (const rate of STEPS) {
    const outcome = await hold(bench, fleet, caller, rate, STEP_S);
    const held = outcome.accepted === outcome.offered && percentile(outcome.settled, 0.99) <= SUSTAINED_MS;
    const p99 = percentile(outcome.settled, 0.99).toFixed(0);
    bench.say(`${rate}/s: ${outcome.accepted} of ${outcome.offered} accepted, settled p99 ${p99} ms`);
    if (!held) break;
    best = rate;
  }
  bench.figure('highest rate sustained', 'commands/s', best, { atLeast: 3_000 });
}

interface Held {
  offered: number;
  accepted: number;
  /** Milliseconds from when each command was due, in ascending order. */
  arrived: Float64Array;
  settled: Float64Array;
}

async function hold(
  bench: Bench,
  { swarm }: Fleet,
  caller: HttpCaller,
  rate: number,
  seconds: number,
): Promise<Held> {
  const due = new Map<string, number>();
  const offered = rate * seconds;
  const began = sharedNow();
  let sent = 0;
  let answered = 0;
  while (sent < offered) {
    const now = sharedNow();
    for (; sent < offered && began + (sent * 1_000) / rate <= now; sent++) {
      const at = began + (sent * 1_000) / rate;
      const device = deviceId(Math.floor(Math.random() * bench.devices));
      // Commands of one device must not supersede each other.
      const body = { type: 'sync', target: { devices: [device] }, collapseKey: null };
      caller.post(JSON.stringify(body), (status, text) => {
        answered++;
        if (status === 202) due.set((JSON.parse(text) as { id: string }).id, at);
      });
    }
    await bench.pause(TICK_MS);
  }
  await bench.until(offered, () => answered, 20);
  const arrived = new Map<string, number>();
  const settled = new Map<string, number>();
  // The rest of the way.
  const there = async () => {
    collect(await swarm.take('arrived'), due, arrived);
    collect(await swarm.take('settled'), due, settled);
    return arrived.size + settled.size;
  };
  await bench.until(due.size * 2, there, 100);
  return {
    offered,
    accepted: due.size,
    arrived: Float64Array.from(arrived.values()).sort(),
    settled: Float64Array.from(settled.values()).sort(),
  };
}

/** The first time counts. */
function collect(
  marks: Map<string, Float64Array>,
  due: Map<string, number>,
  into: Map<string, number>,
): void {
  for (const [id, [at]] of marks) {
    const since = due.get(id);
    if (since !== undefined && at !== undefined && !into.has(id)) into.set(id, at - since);
  }
}
