/** A site with its devices: the start that most scenarios share. */

import { freePort } from '../../test/wait.ts';
import { Swarm } from '../load/swarm.ts';
import type { Bench } from '../scenario.ts';
import { bringKept, keepSeeded, seedDevices } from './seed.ts';
import { Site, type SiteOptions, workersFor } from './site.ts';

/** Handshakes at a time for each worker: it admits in batches. */
const AT_ONCE = 64;

export interface Fleet {
  site: Site;
  swarm: Swarm;
}

/**
 * Makes keys, stores devices and starts programs; no device is connected yet. By default as many devices as
 * the scenario has.
 */
export async function prepareFleet(
  bench: Bench,
  options: Partial<
    Pick<SiteOptions, 'devices' | 'gateways' | 'workers' | 'gatewayFlags' | 'databaseUrl'>
  > = {},
): Promise<Fleet> {
  const { devices = bench.devices, gateways = ['gw1'], databaseUrl = bench.databaseUrl } = options;
  const ports = await Promise.all(gateways.map(() => freePort()));
  const swarm = bench.use(
    await Swarm.start({
      devices,
      dialect: 'pushpoint',
      options: { keepKeys: devices <= 100_000 ? 'yes' : 'no' },
      targets: ports.map((port) => ({ host: '127.0.0.1', port })),
      atOnce: Math.max(256, AT_ONCE * (options.workers ?? workersFor(devices))),
    }),
  );
  const site = bench.use(
    await Site.start({
      ...options,
      gateways,
      ports,
      devices,
      seed: (dataDir) => seed(bench, swarm, devices, dataDir, databaseUrl),
      databaseUrl,
      profileDir: bench.profileDir,
      say: (text) => bench.say(text),
    }),
  );
  return { site, swarm };
}

async function seed(
  bench: Bench,
  swarm: Swarm,
  devices: number,
  dataDir: string,
  databaseUrl: string | undefined,
): Promise<void> {
  const { keepDir } = bench;
  const keeps = databaseUrl === undefined ? keepDir : undefined;
  if (keeps !== undefined && (await bringKept(keeps, devices, dataDir))) return;
  const publicKeys = await swarm.prepare();
  bench.say(`${publicKeys.length} keys`);
  await seedDevices({ dataDir, databaseUrl, publicKeys });
  if (keeps !== undefined) await keepSeeded(keeps, devices, dataDir);
}

/** Devices stop dialing when only this much memory is left. */
const ROOM_BYTES = 512 * 2 ** 20;

/**
 * Connects devices as fast as allowed, by default all of them. Resolves when they are ready, or with fewer if
 * none became ready for a minute, memory runs out, or `enough` says so.
 */
export async function connectAll(
  bench: Bench,
  swarm: Swarm,
  devices = bench.devices,
  enough: () => boolean = () => false,
): Promise<{ ready: number; tookMs: number }> {
  const began = performance.now();
  await swarm.returning(true);
  await swarm.open(devices);
  let said = 0;
  let best = 0;
  let progressAt = performance.now();
  const { phases } = await swarm.until(({ phases: { ready = 0 } }) => {
    const now = performance.now();
    if (ready > best) {
      best = ready;
      progressAt = now;
    }
    if (now - began > (said + 1) * 5_000) {
      said = Math.floor((now - began) / 5_000);
      bench.say(`${ready} of ${devices} connected`);
    }
    return ready >= devices || now - progressAt > 60_000 || bench.roomBytes < ROOM_BYTES || enough();
  });
  const ready = phases.ready ?? 0;
  const tookMs = performance.now() - began;
  bench.say(`${ready} of ${devices} connected in ${(tookMs / 1_000).toFixed(1)} s`);
  if (ready < devices) {
    const others = Object.entries(phases).filter(([phase, count]) => phase !== 'ready' && count > 0);
    bench.say(`the others: ${others.map(([phase, count]) => `${count} ${phase}`).join(', ')}`);
    await tellTroubles(bench, swarm);
    await swarm.hold();
  }
  return { ready, tookMs };
}

/** Says what connections ended with, if any did: `lost` sessions, `failed` and `refused` attempts. */
export async function tellTroubles(bench: Bench, swarm: Swarm): Promise<void> {
  const { counters } = await swarm.state();
  const troubles = Object.entries(counters).filter(([name]) => /^(lost|failed|refused)/.test(name));
  if (troubles.length === 0) return;
  bench.say(`on the way: ${troubles.map(([name, count]) => `${name} × ${count}`).join(', ')}`);
}
