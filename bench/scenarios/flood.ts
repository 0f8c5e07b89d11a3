/**
 * Admission under a flood: strangers try to connect 20,000 times a second while connected devices go on
 * working. The gateway's own rate bounds how many it lets in; it has to refuse the others cheaply.
 */
import { Flood } from '../load/flood.ts';
import { sharedNow } from '../measure/clock.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { forceSync, whenFinished } from '../site/commands.ts';
import { connectAll, type Fleet, prepareFleet } from '../site/fleet.ts';

const PER_SECOND = 20_000;
const SECONDS = 15;

export const flood: Scenario = {
  name: 'flood',
  title: '20,000 attempts to connect a second, beside devices at work',
  devices: 5_000,
  quickDevices: 500,
  async run(bench) {
    await measureFlood(bench, await prepareFleet(bench));
  },
};

export async function measureFlood(bench: Bench, { site, swarm }: Fleet): Promise<void> {
  await connectAll(bench, swarm);
  await bench.pause(bench.quick ? 200 : 2_000);
  const quiet = await syncSeconds(bench, { site, swarm });
  const workers = site.gateways.flatMap(({ name }) => site.workerPids(name));
  const lostBefore = await swarm.count('lost', '');
  const cpuBefore = site.usage().cpuMs.gateway;
  const port = (site.gateways[0] as { port: number }).port;
  const perSecond = bench.quick ? PER_SECOND / 20 : PER_SECOND;
  const storm = bench.use(await Flood.start({ port, perSecond, devices: bench.devices }));
  const began = performance.now();
  await bench.pause(1_000);
  const stormy = await syncSeconds(bench, { site, swarm });
  await bench.pause(Math.max(0, (bench.quick ? 1.5 : SECONDS) * 1_000 - (performance.now() - began)));
  const state = await storm.state();
  const seconds = (performance.now() - began) / 1_000;
  const cpuMs = site.usage().cpuMs.gateway - cpuBefore;
  await storm.stop();
  bench.say(JSON.stringify(state));
  const answered = state.refused + state.letIn;
  bench.figure('attempts offered', 'per second', perSecond);
  bench.figure('attempts made', 'per second', state.begun / seconds);
  bench.figure('attempts answered', 'per second', answered / seconds);
  bench.figure('let in as far as the proof', 'per second', state.letIn / seconds);
  bench.figure('refused before the upgrade', 'per second', state.refused / seconds);
  bench.figure('gateway CPU per attempt', 'µs', (cpuMs * 1_000) / answered);
  bench.figure('a sync to all, every receipt durable, before', 's', quiet.seconds);
  bench.figure('a sync to all, every receipt durable, meanwhile', 's', stormy.seconds);
  bench.invariant('executions not succeeded meanwhile', quiet.open + stormy.open);
  bench.invariant('devices lost meanwhile', (await swarm.count('lost', '')) - lostBefore);
  const alive = new Set(site.gateways.flatMap(({ name }) => site.workerPids(name)));
  bench.invariant('workers that ended', workers.filter((pid) => !alive.has(pid)).length);
  await bench.pause(bench.quick ? 500 : 3_000);
  const restBefore = site.usage().cpuMs.gateway;
  const restBegan = performance.now();
  await bench.pause(bench.quick ? 1_000 : 5_000);
  const rest = ((site.usage().cpuMs.gateway - restBefore) / (performance.now() - restBegan)) * 100;
  bench.figure('gateway CPU after it', '% of a core', rest);
  bench.invariant('a worker spins afterwards', rest > 80 ? 1 : 0);
}

async function syncSeconds(bench: Bench, { site }: Fleet): Promise<{ seconds: number; open: number }> {
  const began = sharedNow();
  const id = await forceSync(site, { all: true });
  const { counts } = await whenFinished(site, id);
  bench.say(
    `a sync to all: ${counts.succeeded} of ${bench.devices} after ` +
      `${((sharedNow() - began) / 1_000).toFixed(1)} s`,
  );
  return { seconds: (sharedNow() - began) / 1_000, open: bench.devices - counts.succeeded };
}
