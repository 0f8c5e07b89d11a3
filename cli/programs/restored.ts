/** `pushpoint restored`: begins a new epoch after an older copy of the database was restored. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { loadEpochSeal } from '../../admin-api/epoch-seal.ts';
import { beginEpoch, loadInstallation } from '../../admin-api/installation.ts';
import { DatabaseLock } from '../../admin-api/store/sql/database-lock.ts';
import { type EpochSeal, ForeignInstallation } from '../../bus/bus.ts';
import { openBus } from '../../bus/open-bus.ts';
import type { Flags } from '../command-line.ts';
import { loadConfig } from '../config/load.ts';
import type { ConfigOf } from '../config/options.ts';
import { redisSettings } from '../config/redis.ts';
import { CliError, EXIT, type ExitCode } from '../exit-codes.ts';
import type { Shell } from '../shell.ts';
import { boxOf, storeOf } from './admin-parts.ts';
import { programLog } from './logger.ts';
import { startError } from './start-errors.ts';

export async function runRestored(shell: Shell, flags: Flags): Promise<ExitCode> {
  const config = loadConfig('restored', { flags, env: shell.env });
  const dataDir = resolve(config.dataDir);
  const file = join(dataDir, 'pushpoint.db');
  if (config.databaseUrl === undefined && !existsSync(file)) {
    throw new CliError(EXIT.usage, `There is no database ${file}: see --data-dir and --database-url.`);
  }
  const log = programLog('warn');
  const lock = config.databaseUrl === undefined ? new DatabaseLock(dataDir) : null;
  const store = storeOf(dataDir, config.databaseUrl, log);
  try {
    // A server that runs on it would go on in the epoch before.
    lock?.take();
    await store.start();
    const { id, epoch: before } = await loadInstallation(store.meta);
    const seal = await loadEpochSeal(store.meta, boxOf(config, dataDir));
    const { epoch } = await beginEpoch(store, await epochInUse(config, id, seal), Date.now());
    shell.stdout.write(
      `Installation ${id}: epoch ${epoch} begins, it was ${before}. Start its administration servers ` +
        'now, and restart any that run; ' +
        'gateways and devices need nothing.\n',
    );
    if (config.redisUrl === undefined && config.databaseUrl !== undefined) {
      shell.stdout.write(
        'Redis was not asked (--redis-url): should a server say that a later epoch was in use, run ' +
          'this again with it.\n',
      );
    }
    return EXIT.ok;
  } catch (error) {
    throw startError(error);
  } finally {
    await store.stop();
    lock?.release();
  }
}

/** What Redis has seen; 0 when there is none, or nothing in it that an administration server began. */
async function epochInUse(config: ConfigOf<'restored'>, id: string, seal: EpochSeal): Promise<number> {
  const { redisUrl } = config;
  if (redisUrl === undefined) return 0;
  const bus = openBus({ redis: redisSettings({ ...config, redisUrl }), log: programLog('error') });
  await bus.start();
  try {
    const held = await bus.owner.held(seal);
    if (held !== null && held.id !== id) {
      throw new ForeignInstallation(
        `this Redis belongs to installation ${held.id}, and the database is that of ${id}: one of the ` +
          'two is the wrong one',
      );
    }
    return held?.epoch ?? 0;
  } finally {
    await bus.stop();
  }
}
