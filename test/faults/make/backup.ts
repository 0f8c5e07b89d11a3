/** An older database in place of the newer one. */
import { cp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { waitFor } from '../../wait.ts';
import type { Fault } from '../fault.ts';
import type { World } from '../world.ts';

/**
 * What was under way at the time of the backup has ended on the devices since, and was settled. The ledger
 * that was put back does not know, and has to hear it from the devices.
 */
export function backupRestored(): Fault {
  return {
    name: 'a backup of the database put back',
    to: 'admin1',
    async begin(world) {
      await world.quiet(async () => {
        const devices = world.devices.map(({ id }) => id);
        const { id } = await world.ledger.send('sync', { group: 'all', devices });
        await waitFor(async () => ((await world.ledger.counts(id)).running ?? 0) > 0, {
          what: 'devices to be at work',
        });
        await copyDatabase(world, 'data', 'backup');
        await world.deployment.startProgram('admin1');
        await waitFor(async () => (await world.ledger.counts(id)).succeeded === devices.length, {
          timeoutMs: 60_000,
          what: 'devices to be done',
        });
        await world.fleet.settle(world.fleet.connected);
        await copyDatabase(world, 'backup', 'data');
        await world.deployment.databaseRestored();
        await world.deployment.startProgram('admin1');
      });
    },
    holdMs: 0,
    keepsSockets: true,
  };
}

/** The server is killed for it. */
async function copyDatabase({ deployment }: World, from: string, to: string): Promise<void> {
  await deployment.program('admin1').killGroup();
  const folder = dirname(dirname(deployment.database));
  for (const end of ['', '-wal', '-shm']) {
    const name = `pushpoint.db${end}`;
    await rm(join(folder, to, name), { force: true });
    await cp(join(folder, from, name), join(folder, to, name)).catch(ignoreMissing);
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
