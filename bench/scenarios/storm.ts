/**
 * Many devices are lost at once and return: first those of a killed worker, then all of a gateway that is
 * killed with its workers. They return by the SDK's rules. A device counts as working once a command that was
 * sent right after the kill has reached it in its new session.
 */
import type { Swarm } from '../load/swarm.ts';
import { sharedNow } from '../measure/clock.ts';
import { cpuMs } from '../measure/processes.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { forceSync, whenFinished } from '../site/commands.ts';
import { connectAll, type Fleet, prepareFleet, tellTroubles } from '../site/fleet.ts';
import { type Kind, type Site, workersFor } from '../site/site.ts';

const TIME_LIMIT_MS = 180_000;

export const storm: Scenario = {
  name: 'storm',
  title: 'devices lost with a worker, then with a gateway, and back',
  devices: 50_000,
  quickDevices: 1_000,
  async run(bench) {
    // One worker more than descriptors ask for: there is room for the devices of the one that is killed.
    const workers = workersFor(bench.devices) + 1;
    const fleet = await prepareFleet(bench, { gateways: ['gw1', 'gw2'], workers });
    await measureStorm(bench, fleet);
  },
};

export async function measureStorm(bench: Bench, fleet: Fleet): Promise<void> {
  const { site, swarm } = fleet;
  await site.startGateway('gw2');
  await connectAll(bench, swarm);
  // Every device was reached in its current session, so a device that is reached again has returned.
  await whenFinished(site, await forceSync(site, { all: true }));
  await bench.pause(bench.quick ? 200 : 3_000);
  await lose(bench, fleet, 'a worker killed', async () => {
    const [worker] = site.workerPids('gw1');
    if (worker === undefined) throw new Error('gw1 has no worker');
    process.kill(worker, 'SIGKILL');
  });
  await bench.pause(bench.quick ? 200 : 5_000);
  await lose(bench, fleet, 'a gateway killed', () => site.killGateway('gw1'));
}

async function lose(
  bench: Bench,
  { site, swarm }: Fleet,
  what: string,
  kill: () => Promise<void>,
): Promise<void> {
  for (const kind of ['lost', 'ready', 'working', 'arrived']) await swarm.take(kind);
  const loadBefore = swarm.cpuMs;
  const before = cpuByProcess(site);
  const began = sharedNow();
  await kill();
  const id = await forceSync(site, { all: true });
  const lost = await back(bench, swarm);
  const took = sharedNow() - began;
  const returned = (await swarm.take('ready')).get('') ?? new Float64Array();
  const working = (await swarm.take('working')).get('') ?? new Float64Array();
  bench.say(
    `${what}: ${lost} lost, ${returned.length} returned, ${working.length} working after ` +
      `${took.toFixed(0)} ms`,
  );
  await tellTroubles(bench, swarm);
  bench.figure(`${what}: devices lost at once`, 'devices', lost);
  const at = (times: Float64Array, share: number): number =>
    times.length < Math.ceil(lost * share)
      ? Number.NaN
      : ((times[Math.ceil(lost * share) - 1] as number) - began) / 1_000;
  bench.figure(`${what}: 99 % connected`, 's', at(returned, 0.99));
  bench.figure(`${what}: 50 % back and working`, 's', at(working, 0.5));
  bench.figure(`${what}: 90 % back and working`, 's', at(working, 0.9));
  bench.figure(`${what}: 99 % back and working`, 's', at(working, 0.99), { atMost: 15 });
  bench.figure(`${what}: all back and working`, 's', at(working, 1));
  const share = (ms: number): number => (ms / took) * 100;
  for (const [kind, ms] of Object.entries(used(site, before))) {
    bench.figure(`${what}: CPU meanwhile, ${kind}`, '% of a core', share(ms));
  }
  bench.figure(`${what}: CPU meanwhile, load generator`, '% of a core', share(swarm.cpuMs - loadBefore));
  const command = await whenFinished(site, id);
  bench.invariant(`${what}: devices not back`, lost - Math.min(lost, returned.length));
  bench.invariant(`${what}: executions not succeeded`, bench.devices - command.counts.succeeded);
  const reached = (await swarm.take('arrived')).get(id) ?? [];
  bench.invariant(`${what}: commands run twice`, Math.max(0, reached.length - bench.devices));
}

function cpuByProcess(site: Site): Map<number, number> {
  return new Map(
    Object.values(site.pids())
      .flat()
      .map((pid) => [pid, cpuMs([pid])]),
  );
}

/** CPU since `before` of the server processes that run now; that of killed processes is lost. */
function used(site: Site, before: ReadonlyMap<number, number>): Record<Kind, number> {
  const pids = site.pids();
  const sum = (kind: Kind): number =>
    pids[kind].reduce((total, pid) => total + cpuMs([pid]) - (before.get(pid) ?? 0), 0);
  return { gateway: sum('gateway'), admin: sum('admin'), redis: sum('redis') };
}

/** Waits until all lost devices work again, or the time is up; how many were lost. */
async function back(bench: Bench, swarm: Swarm): Promise<number> {
  const deadline = performance.now() + TIME_LIMIT_MS;
  let said = performance.now();
  for (;;) {
    await bench.pause(100);
    const lost = await swarm.count('lost', '');
    const working = await swarm.count('working', '');
    const { phases } = await swarm.state();
    if (lost > 0 && working >= lost && phases.ready === bench.devices) return lost;
    if (performance.now() > deadline) return lost;
    if (performance.now() - said > 5_000) {
      said = performance.now();
      bench.say(`${lost} lost, ${phases.ready ?? 0} connected, ${working} of the lost working`);
    }
  }
}
