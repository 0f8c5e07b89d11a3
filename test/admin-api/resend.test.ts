/**
 * What is sent again, and in which order, over a real store and the in-process bus; nobody applies receipts
 * unless the test does.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { AdminConfig } from '../../admin-api/settings.ts';
import type { Command } from '../../admin-api/store/records.ts';
import type { Store } from '../../admin-api/store/store.ts';
import type { Position } from '../../bus/bus.ts';
import { waitFor } from '../wait.ts';
import { type Composed, composed } from './composed.ts';
import { addCommand, addDevice, report, sent } from './store-fixtures.ts';

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

async function withDeployment(
  body: (deployment: Composed) => Promise<void>,
  config: Partial<AdminConfig> = {},
): Promise<void> {
  const deployment = await composed({
    config: { overdueIntervalMs: 20, resendAfterMs: RESEND_AFTER_MS, ...config },
  });
  try {
    await body(deployment);
  } finally {
    await deployment.overdue.stop();
    await deployment.recheck.stop();
    await deployment.dispatcher.stop();
    await deployment.stop();
  }
}

const LASTING = () => ({ issuedAt: Date.now(), expiresAt: Date.now() + 3_600_000 });

async function stateOf(store: Store, command: string): Promise<string | undefined> {
  return (await store.executions.get({ command, device: 'd1' }))?.state;
}

test('an answered command is not sent again while the answer waits to be stored', () =>
  withDeployment(async ({ store, bus, overdue }) => {
    const incarnation = await bus.leases.acquire(WORKER, LOAD, 60_000);
    await addDevice(store, 'd1');
    await addCommand(store, 'c1', LASTING());
    await store.executions.markSent([sent('c1', 'd1', 1, incarnation)], Date.now());
    await bus.receipts.append([{ kind: 'ack', device: 'd1', command: 'c1', at: Date.now() }]);
    overdue.start();
    const longAfter = performance.now() + 3 * RESEND_AFTER_MS;
    const rounds = overdue.rounds;
    await waitFor(() => performance.now() > longAfter && overdue.rounds > rounds + 5, {
      what: 'sweeps long after the command was sent',
    });
    assert.is(await stateOf(store, 'c1'), 'sent');
    // Applied by somebody who found nothing in it for this execution: now it is known to be unanswered.
    const stop = await bus.receipts.consume('one', async () => {});
    await waitFor(async () => (await stateOf(store, 'c1')) === 'queued', {
      what: 'the command to be queued again',
    });
    await stop();
  }));

test('a worker that is lost during a sweep is looked for by the next one, at once', () =>
  withDeployment(async ({ store, bus, overdue }) => {
    const [first, second] = [
      await bus.leases.acquire(WORKER, LOAD, 60_000),
      await bus.leases.acquire({ ...WORKER, worker: 'gw1/1' }, LOAD, 60_000),
    ];
    await addDevice(store, 'd1');
    await addCommand(store, 'c1', LASTING());
    await store.executions.markSent([sent('c1', 'd1', 1, second)], Date.now());
    // A sweep is under way: it has read the leases when the second worker is lost.
    const list = bus.leases.list.bind(bus.leases);
    let lost = false;
    bus.leases.list = async () => {
      const leases = await list();
      if (lost) return leases;
      lost = true;
      await bus.leases.release(second);
      overdue.workersGone();
      return leases;
    };
    overdue.start();
    await waitFor(() => overdue.rounds >= 2, { what: 'the sweep after it' });
    assert.is(await stateOf(store, 'c1'), 'queued');
    await bus.leases.release(first);
  }));

test('D-2: nothing is sent ahead of a command that its worker had no room for', () =>
  withDeployment(async ({ store, bus, dispatcher }) => {
    const incarnation = await bus.leases.acquire(WORKER, LOAD, 60_000);
    await bus.presence.claim(incarnation, [{ device: 'd1' }]);
    await addDevice(store, 'd1');
    const other = { devices: ['d2'], frame: new Uint8Array(1) };
    while ((await bus.outboxes.append(incarnation, new Array(4_000).fill(other))) === 'appended');
    dispatcher.start();
    await addCommand(store, 'c1', LASTING());
    const route = await dispatcher.routes(['d1']);
    assert.is(route.get('d1')?.incarnation, incarnation, 'reachable');
    await store.executions.markSent([sent('c1', 'd1', 1, incarnation)], Date.now());
    const [first] = await store.commands.getMany(['c1']);
    await dispatcher.carry([{ command: 'c1', device: 'd1' }], new Map([['c1', first as Command]]), route);
    assert.is(await stateOf(store, 'c1'), 'queued', 'the outbox is full');
    assert.is((await dispatcher.routes(['d1'])).size, 0, 'no way past it');

    // Carried by somebody who asked for the route before.
    await addCommand(store, 'c2', LASTING());
    await store.executions.markSent([sent('c2', 'd1', 1, incarnation)], Date.now());
    const [second] = await store.commands.getMany(['c2']);
    const carried = dispatcher.carry(
      [{ command: 'c2', device: 'd1' }],
      new Map([['c2', second as Command]]),
      route,
    );
    const { position } = await bus.outboxes.read(incarnation, null, 100_000);
    await bus.outboxes.trim(incarnation, position);
    await carried;
    const handedOver: (string | undefined)[] = [];
    let read = position;
    await waitFor(
      async () => {
        const { position, entries } = await bus.outboxes.read(incarnation, read, 100);
        read = position;
        for (const { delivery } of entries) handedOver.push(delivery.commandId);
        return handedOver.length >= 2;
      },
      { what: 'both to be handed over' },
    );
    assert.equal(handedOver, ['c1', 'c2']);
  }));

/** With `d1` and `d2` away, which have acknowledged `c1`; `reads` counts how often what is open was read. */
async function withRecheck(
  config: Partial<AdminConfig>,
  body: (deployment: Composed & { reads: () => number }) => Promise<void>,
): Promise<void> {
  await withDeployment(async (deployment) => {
    const { store, recheck } = deployment;
    await addDevice(store, 'd1');
    await addDevice(store, 'd2');
    await addCommand(store, 'c1', LASTING());
    const ackedAt = Date.now() - 1_000;
    await store.executions.advance(
      ['d1', 'd2'].map((device) => report('c1', device, 'acked', { ackedAt, finishBy: ackedAt + 3_600_000 })),
    );
    let reads = 0;
    const open = store.executions.open.bind(store.executions);
    store.executions.open = (...page) => {
      reads++;
      return open(...page);
    };
    recheck.start();
    await body({ ...deployment, reads: () => reads });
  }, config);
}

test('D-4: a device that is away after a start is asked once it is there, without reading all again', () =>
  withRecheck({}, async ({ bus, recheck, reads }) => {
    await waitFor(() => reads() > 0, { what: 'what is open to be read' });
    const incarnation = await bus.leases.acquire(WORKER, LOAD, 60_000);
    const asked = new Set<string>();
    let after: Position | null = null;
    for (const device of ['d1', 'd2']) {
      await bus.presence.claim(incarnation, [{ device }]);
      await waitFor(
        async () => {
          const { position, entries } = await bus.outboxes.read(incarnation, after, 100);
          after = position;
          for (const { delivery } of entries) for (const name of delivery.devices) asked.add(name);
          return asked.has(device);
        },
        { what: `${device} to be asked` },
      );
    }
    await waitFor(() => !recheck.running, { what: 'the end, when all were asked' });
    assert.is(reads(), 1);
  }));

test('devices that stay away are not waited for without end', () =>
  withRecheck({ recheckForMs: 0 }, async ({ recheck, reads }) => {
    await waitFor(() => !recheck.running, { what: 'the end' });
    assert.is(reads(), 1);
  }));

test.run();
