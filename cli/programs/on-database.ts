/** Programs that work on the database of an installation while no administration server of SQLite runs. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { SecretBox } from '../../admin-api/at-rest/secret-box.ts';
import { DatabaseLock } from '../../admin-api/store/sql/database-lock.ts';
import type { Store } from '../../admin-api/store/store.ts';
import type { ConfigOf } from '../config/options.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import { boxOf, storeOf } from './admin-parts.ts';
import { programLog } from './logger.ts';
import { startError } from './start-errors.ts';

type DatabaseConfig = Pick<ConfigOf<'root-export'>, 'dataDir' | 'databaseUrl' | 'secretsKeyFile'>;

/** Throws `CliError` for a database that is not there, and what a start throws. */
export async function onDatabase<T>(
  config: DatabaseConfig,
  work: (store: Store, box: SecretBox) => Promise<T>,
): Promise<T> {
  const dataDir = resolve(config.dataDir);
  const file = join(dataDir, 'pushpoint.db');
  if (config.databaseUrl === undefined && !existsSync(file)) {
    throw new CliError(EXIT.usage, `There is no database ${file}: see --data-dir and --database-url.`);
  }
  const lock = config.databaseUrl === undefined ? new DatabaseLock(dataDir) : null;
  const store = storeOf(dataDir, config.databaseUrl, programLog('warn'));
  try {
    // A server that runs on it would go on with what it read before.
    lock?.take();
    await store.start();
    return await work(store, boxOf(config, dataDir));
  } catch (error) {
    throw startError(error);
  } finally {
    await store.stop();
    lock?.release();
  }
}
