/**
 * Records devices as enrolment would, straight in the store: a quarter of a million enrolments by
 * HTTP would take longer than all measurements. The administration server writes the directory from it when
 * it starts.
 */
import { existsSync } from 'node:fs';
import { cp, rename } from 'node:fs/promises';
import { join } from 'node:path';
import pino from 'pino';
import { keepMaster } from '../../admin-api/device-secrets.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import { deviceId, MASTER_SECRET } from '../load/keys.ts';

const CHUNK = 2_000;
/** One device in so many is in this group; it is for commands that are not for all. */
export const FEW_EVERY = 25;
export const FEW = 'few';

export interface SeedOptions {
  dataDir: string;
  databaseUrl: string | undefined;
  publicKeys: readonly Uint8Array[];
}

export async function seedDevices({ dataDir, databaseUrl, publicKeys }: SeedOptions): Promise<void> {
  const store = openStore({ dataDir, databaseUrl, log: pino({ level: 'silent' }) });
  await store.start();
  try {
    const createdAt = Date.now();
    await keepMaster(store.meta, MASTER_SECRET);
    await store.groups.create({ id: FEW, parentId: 'all', name: FEW, createdAt });
    for (let from = 0; from < publicKeys.length; from += CHUNK) {
      await store.transaction(async ({ devices }) => {
        for (let number = from; number < Math.min(publicKeys.length, from + CHUNK); number++) {
          const id = deviceId(number);
          const publicKey = publicKeys[number] as Uint8Array;
          await devices.create({
            id,
            groupId: number % FEW_EVERY === 0 ? FEW : 'all',
            name: id,
            platform: 'bench',
            software: 'bench 1',
            publicKey,
            createdAt,
          });
        }
      });
    }
  } finally {
    await store.stop();
  }
}

/** Where a database with so many devices is kept between runs. */
function keptAt(keepDir: string, devices: number): string {
  return join(keepDir, `devices-${devices}`);
}

/** Brings a kept database to `dataDir`; `false` when there is none for this number of devices. */
export async function bringKept(keepDir: string, devices: number, dataDir: string): Promise<boolean> {
  const kept = keptAt(keepDir, devices);
  if (!existsSync(kept)) return false;
  await cp(kept, dataDir, { recursive: true });
  return true;
}

/** Keeps the database of `dataDir`, which nobody has open. */
export async function keepSeeded(keepDir: string, devices: number, dataDir: string): Promise<void> {
  const kept = keptAt(keepDir, devices);
  await cp(dataDir, `${kept}.part`, { recursive: true });
  await rename(`${kept}.part`, kept);
}
