/** Copies SQLite's write-ahead log back on its own connection, on request; `checkpoints.ts` starts it. */
import { parentPort, workerData } from 'node:worker_threads';
import { DatabaseSync } from '@photostructure/sqlite';

/** A short second pass copies what was appended during the first. */
const PASSES = 2;

const database = new DatabaseSync(workerData as string);

parentPort?.on('message', (message: 'checkpoint' | 'close') => {
  if (message === 'close') {
    database.close();
    parentPort?.close();
    return;
  }
  try {
    // `passive` waits for nobody, and nobody waits for it (sqlite.org/pragma.html#pragma_wal_checkpoint).
    for (let pass = 0; pass < PASSES; pass++) database.exec('pragma wal_checkpoint(passive)');
  } catch {
    // For example a full disk: the pages stay in the log until the next request.
  }
  parentPort?.postMessage('done');
});
