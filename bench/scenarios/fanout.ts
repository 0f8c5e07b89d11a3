/**
 * One forced sync to all, against a bare uWebSockets.js program that publishes the same number of bytes to as
 * many connections, on the same machine and in the same run. The bare program is measured twice: with clients
 * that only listen, and with clients that answer as many bytes as a device does. Pushpoint as well: with
 * devices that finish at once, and with devices that acknowledge and finish a second later.
 */
import { BarePublisher } from '../bare/bare-publisher.ts';
import { Swarm } from '../load/swarm.ts';
import { sharedNow } from '../measure/clock.ts';
import { percentile } from '../measure/percentiles.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { forceSync, whenFinished } from '../site/commands.ts';
import { connectAll, type Fleet, prepareFleet } from '../site/fleet.ts';

/** A `sync` order of a group as devices get it, and their result. */
const ORDER_BYTES = 260;
const ANSWER_BYTES = 120;
const ROUNDS = 3;
/** How long devices take for a command in the second part, milliseconds. */
const WORK_MS = 1_000;
const LATER = ', devices that finish a second later';

export const fanout: Scenario = {
  name: 'fanout',
  title: 'one forced sync to all, against bare uWebSockets.js',
  devices: 50_000,
  quickDevices: 1_000,
  async run(bench) {
    await measureFanout(bench, await prepareFleet(bench));
  },
};

function rounds({ quick }: Bench): number {
  return quick ? 2 : ROUNDS;
}

interface Reached {
  p50: number;
  p99: number;
  last: number;
}

export async function measureFanout(bench: Bench, fleet: Fleet): Promise<void> {
  const listening = await bare(bench, fleet.site.workers, false);
  const answering = await bare(bench, fleet.site.workers, true);
  tell(bench, 'bare uWebSockets.js', listening);
  tell(bench, 'bare uWebSockets.js, clients that answer', answering);
  await connectAll(bench, fleet.swarm);
  await bench.pause(bench.quick ? 500 : 5_000);
  const ours = await pushpoint(bench, fleet);
  bench.figure('last device reached, against bare uWebSockets.js', 'times', ours.last / listening.last, {
    atMost: 1.25,
  });
  bench.figure('the same against one whose clients answer', 'times', ours.last / answering.last);
  await fleet.swarm.work(WORK_MS);
  await pushpoint(bench, fleet, LATER);
  await fleet.swarm.work(0);
}

function tell(bench: Bench, who: string, { p50, p99, last }: Reached): void {
  bench.figure(`${who}: half of the devices reached`, 'ms', p50);
  bench.figure(`${who}: 99 % reached`, 'ms', p99);
  bench.figure(`${who}: last device reached`, 'ms', last);
}

async function bare(bench: Bench, processes: number, answers: boolean): Promise<Reached> {
  const server = bench.use(await BarePublisher.start(processes));
  const swarm = bench.use(
    await Swarm.start({
      devices: bench.devices,
      dialect: 'plain',
      options: { answerBytes: answers ? String(ANSWER_BYTES) : '0' },
      targets: [{ host: '127.0.0.1', port: server.port }],
    }),
  );
  await connectAll(bench, swarm);
  await bench.pause(bench.quick ? 200 : 2_000);
  const all: Reached[] = [];
  for (let round = 0; round < rounds(bench); round++) {
    const key = `publish-${round}`;
    const bytes = Buffer.alloc(ORDER_BYTES, 'x');
    bytes.write(`${key} `);
    const began = sharedNow();
    server.publish(bytes);
    const last = await arrivals(bench, swarm, key, began);
    all.push(last);
    await bench.pause(bench.quick ? 100 : 1_000);
  }
  await swarm.stop();
  await server.stop();
  return median(all);
}

/** `which` devices, for the names of the rows. */
async function pushpoint(bench: Bench, { site, swarm }: Fleet, which = ''): Promise<Reached> {
  const { devices } = bench;
  const repeatedBefore = (await swarm.state()).counters.repeated ?? 0;
  const all: Reached[] = [];
  const durable: number[] = [];
  let missed = 0;
  let notSucceeded = 0;
  const before = site.usage();
  for (let round = 0; round < rounds(bench); round++) {
    const began = sharedNow();
    const id = await forceSync(site, { all: true });
    const command = await whenFinished(site, id);
    durable.push(sharedNow() - began);
    const times = (await swarm.take('arrived')).get(id) ?? new Float64Array();
    missed += devices - times.length;
    notSucceeded += devices - command.counts.succeeded;
    all.push(reached(times, began));
    bench.say(
      `round ${round + 1}: ${JSON.stringify(all.at(-1))}, durable after ${durable.at(-1)?.toFixed(0)} ms`,
    );
    await bench.pause(bench.quick ? 100 : 1_000);
  }
  const after = site.usage();
  const middle = median(all);
  tell(bench, `Pushpoint${which}`, middle);
  bench.invariant(`devices not reached${which}`, missed);
  bench.invariant(`executions not succeeded${which}`, notSucceeded);
  const allDurable = percentile(
    durable.sort((a, b) => a - b),
    0.5,
  );
  const bound = which === '' ? { atMost: 4 } : undefined;
  bench.figure(`every receipt durable${which}`, 's', allDurable / 1_000, bound);
  for (const kind of ['gateway', 'admin', 'redis'] as const) {
    const each = ((after.cpuMs[kind] - before.cpuMs[kind]) * 1_000) / (rounds(bench) * devices);
    bench.figure(`CPU per execution, ${kind}${which}`, 'µs', each);
  }
  const repeated = ((await swarm.state()).counters.repeated ?? 0) - repeatedBefore;
  bench.figure(`executions delivered more than once${which}`, 'share', repeated / (rounds(bench) * devices));
  return middle;
}

async function arrivals(bench: Bench, swarm: Swarm, key: string, began: number): Promise<Reached> {
  await bench.until(bench.devices, () => swarm.count('arrived', key));
  return reached((await swarm.take('arrived')).get(key) ?? new Float64Array(), began);
}

function reached(times: Float64Array, began: number): Reached {
  const at = (share: number): number => percentile(times, share) - began;
  return { p50: at(0.5), p99: at(0.99), last: at(1) };
}

/** The round whose last device was reached in the median time. */
function median(rounds: readonly Reached[]): Reached {
  return [...rounds].sort((a, b) => a.last - b.last)[Math.floor(rounds.length / 2)] as Reached;
}
