/** A site with its devices: the start that most scenarios share. */

import { freePort } from '../../test/wait.ts';
import { Swarm } from '../load/swarm.ts';
import type { Bench } from '../scenario.ts';
import { bringKept, keepSeeded, seedDevices } from './seed.ts';
import { Site, type SiteOptions } from './site.ts';

export interface Fleet {
  site: Site;
  swarm: Swarm;
}

/** Keys made, devices on record, programs up; nobody connected yet. */
export async function prepareFleet(
  bench: Bench,
  options: Partial<Pick<SiteOptions, 'gateways' | 'workers' | 'gatewayFlags'>> = {},
): Promise<Fleet> {
  const gateways = options.gateways ?? ['gw1'];
  const ports = await Promise.all(gateways.map(() => freePort()));
  const swarm = bench.use(
    await Swarm.start({
      devices: bench.devices,
      dialect: 'pushpoint',
      options: { keepKeys: bench.devices <= 100_000 ? 'yes' : 'no' },
      targets: ports.map((port) => ({ host: '127.0.0.1', port })),
    }),
  );
  const site = bench.use(
    await Site.start({
      ...options,
      gateways,
      ports,
      devices: bench.devices,
      seed: (dataDir) => seed(bench, swarm, dataDir),
      databaseUrl: bench.databaseUrl,
      profileDir: bench.profileDir,
      say: (text) => bench.say(text),
    }),
  );
  return { site, swarm };
}

async function seed(bench: Bench, swarm: Swarm, dataDir: string): Promise<void> {
  const { databaseUrl, devices, keepDir } = bench;
  const keeps = databaseUrl === undefined ? keepDir : undefined;
  if (keeps !== undefined && (await bringKept(keeps, devices, dataDir))) return;
  const publicKeys = await swarm.prepare();
  bench.say(`${publicKeys.length} keys`);
  await seedDevices({ dataDir, databaseUrl, publicKeys });
  if (keeps !== undefined) await keepSeeded(keeps, devices, dataDir);
}

/** All devices connect as fast as they may; resolves when they are ready, or with fewer after the time limit. */
export async function connectAll(bench: Bench, swarm: Swarm): Promise<{ ready: number; tookMs: number }> {
  const began = performance.now();
  await swarm.returning(true);
  await swarm.open();
  let said = 0;
  const ready = await swarm.whenReady(bench.devices, 60_000 + bench.devices * 2, ({ phases }) => {
    const now = Math.floor((performance.now() - began) / 5_000);
    if (now === said) return;
    said = now;
    bench.say(`${phases.ready ?? 0} of ${bench.devices} connected`);
  });
  const tookMs = performance.now() - began;
  bench.say(`${ready} of ${bench.devices} connected in ${(tookMs / 1_000).toFixed(1)} s`);
  return { ready, tookMs };
}
