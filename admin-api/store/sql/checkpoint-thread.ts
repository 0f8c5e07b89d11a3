/**
 * Copies SQLite's write-ahead log back on a connection of its own, whenever it is told to; `checkpoints.ts`
 * starts it.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { DatabaseSync } from '@photostructure/sqlite';

/** What is appended during the first pass takes a second one, a short one. */
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
    // A full disk, say: the log keeps what is in it, and the next time comes.
  }
  parentPort?.postMessage('done');
});
