/**
 * The parts of an administration server over a real store and the in-process bus. None runs until a test
 * starts it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pino from 'pino';
import type { SecretBox } from '../../admin-api/at-rest/secret-box.ts';
import { compose } from '../../admin-api/compose.ts';
import type { AdminConfig } from '../../admin-api/settings.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import { MemoryBus } from '../../bus/memory-bus.ts';

export type Composed = Awaited<ReturnType<typeof composed>>;

/**
 * `secretBox`: secrets are stored unencrypted without one. `now` is the clock of the ledger, `busNow` that of
 * the bus; `log` is silent when absent.
 */
export async function composed({
  config = {},
  now = Date.now,
  busNow = Date.now,
  log = pino({ level: 'silent' }),
  secretBox,
}: {
  config?: Partial<AdminConfig>;
  now?: () => number;
  busNow?: () => number;
  log?: pino.Logger;
  secretBox?: SecretBox;
}) {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'pushpoint-composed-'));
  const store = openStore({ dataDir, checkNesting: true, log });
  await store.start();
  const bus = new MemoryBus({ log, now: busNow });
  await bus.start();
  const given = { store, bus, log, now, config, ...(secretBox && { secretBox }) };
  const parts = await compose(given);
  return {
    ...parts,
    bus,
    dataDir,
    /** Another server on the same store and bus. */
    another: () => compose(given),
    /** Bus and store; who started other parts stops them before. */
    async stop(): Promise<void> {
      await bus.stop();
      await store.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
