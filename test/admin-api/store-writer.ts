/**
 * Writes to the store in the folder given, command ids beginning with the prefix given, for as long as it
 * lives, and prints each number once it is committed; a test kills it.
 */
import { writeSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import pino from 'pino';
import { openStore } from '../../admin-api/store/open-store.ts';
import { newCommand } from './store-fixtures.ts';

const [, , dataDir, prefix] = process.argv;
const store = openStore({ dataDir, log: pino({ level: 'silent' }) });
await store.start();
for (let number = 1; ; number++) {
  await store.transaction(async (tx) => {
    await tx.commands.create(newCommand(`${prefix}${number}`));
    await tx.events.append([{ at: 1, type: 'written', data: number }]);
  });
  writeSync(1, `${number}\n`);
  // SQLite does not queue who waits for its lock: another process gets it while nobody holds it, or not at
  // all.
  await pause(2);
}
