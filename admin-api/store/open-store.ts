import path from 'node:path';
import type { Logger } from 'pino';
import type { Certificates } from '../../bus/tls/certificates.ts';
import { postgresDialect } from './sql/dialect-postgres.ts';
import { sqliteDialect } from './sql/dialect-sqlite.ts';
import { postgresAddress } from './sql/postgres-url.ts';
import { sqlStore } from './sql-store.ts';
import type { Store } from './store.ts';

export interface StoreOptions {
  /** See `postgres-url.ts`. Absent: a SQLite file in `dataDir`. */
  databaseUrl?: string | undefined;
  /** Folder of the SQLite file, created with mode 0700 if missing. Absent: `data`. */
  dataDir?: string | undefined;
  /** PostgreSQL connections to open at most. Absent: 10. */
  poolSize?: number | undefined;
  /** PostgreSQL cancels a statement after this long, milliseconds. Absent: 30,000. */
  statementTimeoutMs?: number | undefined;
  /**
   * Throws if the store itself is used inside one of its transactions: SQLite has one connection, and would
   * wait for ever. Only for tests, because it follows every promise of the process.
   */
  checkNesting?: boolean | undefined;
  /** Reads the TLS files of the connection to PostgreSQL again when they change. */
  certificates?: Certificates | undefined;
  log: Logger;
}

/** The store, not yet started. Throws `StoreSettingsError` when the URL cannot be used. */
export function openStore({
  databaseUrl,
  dataDir = 'data',
  poolSize = 10,
  statementTimeoutMs = 30_000,
  checkNesting = false,
  certificates,
  log,
}: StoreOptions): Store {
  if (databaseUrl === undefined || databaseUrl === '') {
    return sqlStore(sqliteDialect(path.join(dataDir, 'pushpoint.db')), Date.now, checkNesting);
  }
  const address = postgresAddress(databaseUrl);
  const dialect = postgresDialect({ address, poolSize, statementTimeoutMs, certificates, log });
  return sqlStore(dialect, Date.now, checkNesting);
}
