/** What the sweeper sends again, over a real store and the in-process bus; nobody applies receipts unless the test does. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pino from 'pino';
import { Registry } from 'prom-client';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CommandFrames } from '../../admin-api/dispatch/command-frames.ts';
import { Dispatcher } from '../../admin-api/dispatch/dispatcher.ts';
import { Expander } from '../../admin-api/dispatch/expander.ts';
import { HolderMail } from '../../admin-api/dispatch/holder-mail.ts';
import { EventHub } from '../../admin-api/event-hub.ts';
import { Outcomes } from '../../admin-api/ledger/outcomes.ts';
import { Sweeper } from '../../admin-api/ledger/sweeper.ts';
import { createAdminMetrics } from '../../admin-api/metrics.ts';
import { OrderSigner } from '../../admin-api/order-signer.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { waitFor } from '../wait.ts';
import { addCommand, addDevice, sent } from './store-fixtures.ts';

const RESEND_AFTER_MS = 300;
const INITIAL = { group: 'all', runPushServer: true, port: 1, address: 'ws://x:1', connectionLimit: 1 };
const WORKER = { worker: 'gw1/0', gateway: 'gw1', host: 'h', pid: 1, version: '1', initial: INITIAL };
const LOAD = {
  connections: 1,
  limit: 1,
  revision: 1,
  admissionRate: 0,
  bufferedBytes: 0,
  memoryBytes: 0,
  cpu: 0,
};

test('what has been answered is not sent again while the answer waits to be put on record', async () => {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'pushpoint-resend-'));
  const log = pino({ level: 'silent' });
  const now = Date.now;
  const store = openStore({ dataDir, checkNesting: true, log });
  await store.start();
  const bus = new MemoryBus({ log });
  await bus.start();
  const hub = new EventHub(store.events, log);
  const outcomes = new Outcomes(store, hub, now);
  const frames = new CommandFrames(await OrderSigner.load(store.meta));
  const metrics = createAdminMetrics(new Registry());
  const dispatcher = new Dispatcher({ store, bus, frames, outcomes, metrics, log, now });
  const expander = new Expander({ store, dispatcher, outcomes, log, now });
  const mail = new HolderMail(bus, log);
  const sweeper = new Sweeper(
    { store, bus, dispatcher, expander, outcomes, mail, frames, hub, metrics, log, now },
    {
      intervalMs: 20,
      resendAfterMs: RESEND_AFTER_MS,
      keepCommandsMs: 3_600_000,
      keepEventsMs: 3_600_000,
      keepEvents: 1_000,
    },
  );
  try {
    const incarnation = await bus.leases.acquire(WORKER, LOAD, 60_000);
    const stateOf = async (command: string) => (await store.executions.get({ command, device: 'd1' }))?.state;
    await addDevice(store, 'd1');
    await addCommand(store, 'c1', { issuedAt: now(), expiresAt: now() + 3_600_000 });
    await store.executions.markSent([sent('c1', 'd1', 1, incarnation)], now());
    await bus.receipts.append([{ kind: 'ack', device: 'd1', command: 'c1', at: now() }]);
    sweeper.start();
    const longAfter = performance.now() + 3 * RESEND_AFTER_MS;
    const rounds = sweeper.rounds;
    await waitFor(() => performance.now() > longAfter && sweeper.rounds > rounds + 5, {
      what: 'sweeps long after the command was sent',
    });
    assert.is(await stateOf('c1'), 'sent');
    // Applied by somebody who found nothing in it for this execution: now it is known to be unanswered.
    const stop = await bus.receipts.consume('one', async () => {});
    await waitFor(async () => (await stateOf('c1')) === 'queued', { what: 'the command to be queued again' });
    await stop();
  } finally {
    await sweeper.stop();
    await bus.stop();
    await store.stop();
    await rm(dataDir, { recursive: true });
  }
});

test.run();
