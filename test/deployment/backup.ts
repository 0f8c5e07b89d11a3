/** Backups of a deployment's database and putting them back, as docs/operations.md says. */
import { execFile } from 'node:child_process';
import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DatabaseSync } from '@photostructure/sqlite';
import { findPrograms, versionedFolders } from '../services/install.ts';

const run = promisify(execFile);

export interface DatabasePlace {
  /** The data folder of the administration server, where its SQLite database is. */
  dataDir: string;
  /** PostgreSQL instead. */
  databaseUrl?: string | undefined;
}

/** While the server runs. */
export async function backUp({ dataDir, databaseUrl }: DatabasePlace, file: string): Promise<void> {
  if (databaseUrl !== undefined) {
    const { pg_dump } = await postgresPrograms();
    await run(pg_dump, ['--format=custom', `--file=${file}`, databaseUrl]);
    return;
  }
  const database = new DatabaseSync(join(dataDir, 'pushpoint.db'));
  try {
    database.exec(`vacuum into '${file}'`);
  } finally {
    database.close();
  }
}

/** While no server runs. */
export async function restore({ dataDir, databaseUrl }: DatabasePlace, file: string): Promise<void> {
  if (databaseUrl !== undefined) {
    const { pg_restore } = await postgresPrograms();
    await run(pg_restore, ['--clean', '--if-exists', '--dbname', databaseUrl, file]);
    return;
  }
  for (const end of ['-wal', '-shm']) await rm(join(dataDir, `pushpoint.db${end}`), { force: true });
  await copyFile(file, join(dataDir, 'pushpoint.db'));
}

async function postgresPrograms(): Promise<{ pg_dump: string; pg_restore: string }> {
  const folders = [
    ...(await versionedFolders('/usr/lib/postgresql', 'bin')),
    '/usr/local/bin',
    '/opt/homebrew/bin',
  ];
  const found = await findPrograms(['pg_dump', 'pg_restore'], folders);
  if (!found) throw new Error('pg_dump and pg_restore come with postgresql, and are not where it is');
  return found;
}
