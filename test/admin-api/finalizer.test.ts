/**
 * Final states that the ledger gives by itself, over a real store and the in-process bus; the test provides
 * the clock and the workers.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Finalizer } from '../../admin-api/ledger/finalizer.ts';
import { reduceReceipts } from '../../admin-api/ledger/reduce-receipts.ts';
import type { Outcomes } from '../../admin-api/outcomes.ts';
import type { EndCause, Store } from '../../admin-api/store/store.ts';
import type { Receipt } from '../../bus/bus.ts';
import type { MemoryBus } from '../../bus/memory-bus.ts';
import { identity, LONG_MS, load } from '../bus/samples.ts';
import { resultReceipt } from '../results.ts';
import { waitFor } from '../wait.ts';
import { composed } from './composed.ts';
import { addCommand, addDevices, connect, report, sent, T0 } from './store-fixtures.ts';

const PATIENCE_MS = 300_000;
const DUE = T0 + 60_000;
const KEY = { command: 'c1', device: 'd0000' };
const D1 = { command: 'c1', device: 'd0001' };

interface Deployment {
  store: Store;
  bus: MemoryBus;
  outcomes: Outcomes;
  /** The clock that all share. */
  time: { now: number };
  /** Everything that may end now ends. */
  end(): Promise<void>;
  /** A server that knows nothing but what is stored. */
  restart(): Promise<Finalizer>;
  /** A worker; 0 as it has not said yet what it heard. */
  worker(number: number, heardUpTo?: number): Promise<string>;
  /** Applies receipts from here on. */
  apply(): Promise<void>;
  execution(device?: string): Promise<string>;
}

async function withDeployment(body: (deployment: Deployment) => Promise<void>): Promise<void> {
  const time = { now: T0 };
  const now = () => time.now;
  const server = await composed({ now, busNow: now, config: { gatewayPatienceMs: PATIENCE_MS } });
  const { store, bus, outcomes } = server;
  let { finalizer } = server;
  secretOf = (device) => server.secrets.of(device, 1);
  await server.frontier.start();
  const deployment: Deployment = {
    store,
    bus,
    outcomes,
    time,
    end: () => finalizer.soon(),
    restart: async () => {
      const another = await server.another();
      await another.frontier.start();
      finalizer = another.finalizer;
      return finalizer;
    },
    worker: async (number, heardUpTo = 0) => {
      const incarnation = await bus.leases.acquire({ ...identity, worker: `gw${number}/0` }, load, LONG_MS);
      await bus.leases.heard(incarnation, heardUpTo);
      return incarnation;
    },
    apply: async () => {
      await bus.receipts.consume('one', async (batch) => {
        const { receipts } = await server.reportVerifier.open(batch);
        await store.executions.advance(reduceReceipts(receipts, time.now).advances);
      });
      await waitFor(async () => (await bus.receipts.progress()).open === null);
    },
    execution: async (device = KEY.device) => {
      const row = await store.executions.get({ command: 'c1', device });
      return `${row?.state}: ${row?.reason ?? ''}`;
    },
  };
  try {
    await body(deployment);
  } finally {
    await server.stop();
  }
}

/** Of the running server: what its devices authenticate their results with. */
let secretOf: (device: string) => Uint8Array;
const result = (device: string, at: number): Receipt =>
  resultReceipt({ id: device, secret: secretOf(device) }, 'c1', at);

/** c1 on two devices, acknowledged, to be finished by `DUE`. */
async function running({ store }: Deployment): Promise<void> {
  await addDevices(store, 'd', 2);
  await addCommand(store, 'c1');
  const acks = [KEY, D1].map(({ device }) => report('c1', device, 'acked', { ackedAt: T0, finishBy: DUE }));
  await store.executions.advance(acks);
}

test('no clock ends what a device finished in time, wherever its receipt waits', () =>
  withDeployment(async (deployment) => {
    const { bus, time } = deployment;
    const worker = await deployment.worker(1, T0);
    await running(deployment);
    time.now = DUE + 20_000;
    await deployment.end();
    assert.is(await deployment.execution(), 'acked: ', 'in the spool of the worker');
    await bus.receipts.append([result('d0000', DUE)]);
    await bus.leases.heard(worker, time.now);
    await deployment.end();
    assert.is(await deployment.execution(), 'acked: ', 'in the queue');
    await deployment.apply();
    await deployment.end();
    assert.is(await deployment.execution(), 'succeeded: ');
    assert.is(await deployment.execution('d0001'), 'timed-out: the device did not finish in time');
    const late = await deployment.store.executions.get(D1);
    assert.is(late?.finishedAt, DUE + 20_000);
  }));

test('a gateway that lags holds up what its own devices may have ended, and nothing else', () =>
  withDeployment(async (deployment) => {
    const { store, bus, time } = deployment;
    await running(deployment);
    const slow = await deployment.worker(1, DUE - 1);
    const quick = await deployment.worker(2);
    await store.devices.applySessions([connect('d0000', 1, slow), connect('d0001', 1, quick)]);
    time.now = DUE + 5_000;
    await bus.leases.heard(quick, time.now);
    await deployment.end();
    assert.is(await deployment.execution(), 'acked: ');
    assert.is(await deployment.execution('d0001'), 'timed-out: the device did not finish in time');
    await bus.leases.heard(slow, time.now);
    await deployment.end();
    assert.is(await deployment.execution(), 'timed-out: the device did not finish in time');
  }));

test('a gateway is asked what it heard when something of its devices is due, and at no other time', () =>
  withDeployment(async (deployment) => {
    const { store, bus, time } = deployment;
    await running(deployment);
    const asked: string[] = [];
    const answers = async (incarnation: string) => {
      await bus.leases.onAskHeard(incarnation, () => {
        asked.push(incarnation);
        void bus.leases.heard(incarnation, time.now);
      });
    };
    const own = await deployment.worker(1, T0);
    const other = await deployment.worker(2, T0);
    await Promise.all([answers(own), answers(other)]);
    await store.devices.applySessions([connect('d0000', 1, own)]);
    await store.executions.advance([report('c1', 'd0001', 'succeeded', { finishedAt: T0 })]);
    time.now = DUE - 1;
    await deployment.end();
    time.now = DUE + 1_000;
    await deployment.end();
    assert.is(await deployment.execution(), 'acked: ', 'it said so too long ago');
    await waitFor(() => asked.length > 0);
    await deployment.end();
    assert.is(await deployment.execution(), 'timed-out: the device did not finish in time');
    await deployment.end();
    assert.equal(asked, [own]);
    // Of a device that is connected nowhere each may have heard.
    await addCommand(store, 'c2');
    await store.executions.advance([report('c2', 'd0001', 'acked', { ackedAt: T0, finishBy: DUE })]);
    time.now += 1;
    await deployment.end();
    await waitFor(() => asked.includes(other));
    await deployment.end();
    assert.is((await store.executions.get({ command: 'c2', device: 'd0001' }))?.state, 'timed-out');
  }));

/** The device's result comes after the end that the clock gave, although the gateway had it in time. */
async function succeedsLate({ bus, store, apply }: Deployment): Promise<void> {
  await bus.receipts.append([result('d0000', DUE)]);
  await apply();
  const { late, state } = (await store.executions.get(KEY)) ?? {};
  assert.equal([state, late?.state, late?.at, late?.inTime], ['timed-out', 'succeeded', DUE, true]);
}

test('a lost gateway is waited for, and then the reason says that it was not heard from', () =>
  withDeployment(async (deployment) => {
    const { bus, time } = deployment;
    await running(deployment);
    const lost = await deployment.worker(1, DUE - 1_000);
    await deployment.worker(2, Number.MAX_SAFE_INTEGER);
    time.now = DUE + 1_000;
    await deployment.end();
    await bus.leases.release(lost);
    await deployment.end();
    time.now += PATIENCE_MS - 1;
    // Also a server that was started since knows of it.
    await deployment.restart();
    await deployment.end();
    assert.is(await deployment.execution(), 'acked: ');
    time.now += 1;
    await deployment.end();
    assert.is(
      await deployment.execution(),
      'timed-out: the device did not finish in time; gw1/0 not heard from',
    );
    // It comes back, with what it had heard in time.
    await succeedsLate(deployment);
  }));

test('a gateway that cannot append what it hears is waited for as long as a lost one', () =>
  withDeployment(async (deployment) => {
    const { store, time } = deployment;
    await running(deployment);
    const stuck = await deployment.worker(1, T0);
    await store.devices.applySessions([connect('d0000', 1, stuck)]);
    await deployment.worker(2, Number.MAX_SAFE_INTEGER);
    time.now = DUE + 1_000;
    await deployment.end();
    time.now += PATIENCE_MS - 1;
    await deployment.end();
    const both = async () => [await deployment.execution(), await deployment.execution('d0001')];
    assert.equal(await both(), ['acked: ', 'acked: ']);
    time.now += 1;
    await deployment.end();
    const end = 'timed-out: the device did not finish in time; gw1/0 not heard from';
    assert.equal(await both(), [end, end], 'the device is connected there, or may have been');
    await succeedsLate(deployment);
  }));

test('a gateway is given its time from when it was first seen to be behind, not from what is due', () =>
  withDeployment(async (deployment) => {
    const { bus, time } = deployment;
    await running(deployment);
    const worker = await deployment.worker(1, T0);
    // All programs slept, and this one is the first to wake.
    time.now = DUE + 2 * PATIENCE_MS;
    await deployment.end();
    assert.is(await deployment.execution(), 'acked: ');
    await bus.receipts.append([result('d0000', DUE)]);
    await bus.leases.heard(worker, time.now);
    await deployment.apply();
    await deployment.end();
    assert.is(await deployment.execution(), 'succeeded: ');
    assert.is(await deployment.execution('d0001'), 'timed-out: the device did not finish in time');
    // What it is behind with later is another time.
    const later = time.now + PATIENCE_MS;
    await addCommand(deployment.store, 'c2');
    const ack = report('c2', 'd0001', 'acked', { ackedAt: T0, finishBy: later });
    await deployment.store.executions.advance([ack]);
    time.now = later + PATIENCE_MS + 1_000;
    await deployment.end();
    const { state } = (await deployment.store.executions.get({ command: 'c2', device: 'd0001' })) ?? {};
    assert.is(state, 'acked');
  }));

test('receipts lost with the data of Redis do not count as applied, nor do reports of their worker', () =>
  withDeployment(async (deployment) => {
    const { bus, time } = deployment;
    await running(deployment);
    const worker = await deployment.worker(1);
    time.now = DUE + 5_000;
    await bus.receipts.append([result('d0000', DUE)]);
    await bus.leases.heard(worker, time.now);
    await deployment.end();
    assert.is(await deployment.execution(), 'acked: ', 'in the queue');
    // What a Redis says that was emptied: another stream, with nothing in it; no leases.
    const emptied = { appended: '', open: null, stream: 'another' };
    bus.receipts.progress = async () => emptied;
    await bus.leases.release(worker);
    const again = await deployment.worker(2);
    await bus.leases.heard(again, time.now);
    await deployment.end();
    await deployment.end();
    assert.is(await deployment.execution(), 'acked: ', 'lost');
    // A server that was away meanwhile learns the same from what is stored.
    await deployment.restart();
    const { upTo, endedAt } = JSON.parse((await deployment.store.meta.get(`worker.${worker}`)) ?? '{}');
    assert.equal([upTo, endedAt], [0, time.now]);
    assert.is(await deployment.store.meta.get('receipts.stream'), 'another');
  }));

test('a gateway that left in good order, or came again, is not waited for', () =>
  withDeployment(async (deployment) => {
    const { bus, time } = deployment;
    await running(deployment);
    const left = await deployment.worker(1, DUE - 1_000);
    const killed = await deployment.worker(2, DUE - 1_000);
    time.now = DUE + 1_000;
    await deployment.end();
    await bus.leases.release(left, { allHeard: true });
    // Started again before the lease of the one that was killed has ended.
    time.now += 1;
    const again = await deployment.worker(2);
    await deployment.end();
    assert.is(await deployment.execution(), 'acked: ', 'it has not said what it heard');
    await bus.leases.heard(again, time.now);
    await deployment.end();
    assert.is(await deployment.execution(), 'timed-out: the device did not finish in time');
    await bus.leases.release(killed);
  }));

test('executions never sent end at once; sent ones, once it is known that nothing was reported', () =>
  withDeployment(async (deployment) => {
    const { store, bus, outcomes, time } = deployment;
    const worker = await deployment.worker(1, T0);
    await addDevices(store, 'd', 2);
    await addCommand(store, 'c1');
    await store.executions.markSent([sent('c1', 'd0001', 1, worker)], T0);
    time.now = T0 + 1_000;
    await outcomes.end([KEY, D1], 'cancel');
    assert.is(await deployment.execution(), 'canceled: canceled before it was sent');
    time.now += 1_000;
    await deployment.end();
    assert.is(await deployment.execution('d0001'), 'sent: ');
    await bus.leases.heard(worker, time.now);
    await deployment.end();
    assert.is(
      await deployment.execution('d0001'),
      'canceled: canceled after it was sent; the device had not acknowledged it',
    );
  }));

for (const ending of ['cancel', 'skip', 'supersede', 'force', 'delete', 'move-to'] satisfies EndCause[]) {
  test(`an end in the queue counts for more than to ${ending}`, () =>
    withDeployment(async (deployment) => {
      const { store, bus, outcomes, time } = deployment;
      const worker = await deployment.worker(1, T0);
      await addDevices(store, 'd', 2);
      await addCommand(store, 'c1');
      await store.executions.markSent([sent('c1', 'd0000'), sent('c1', 'd0001')], T0);
      await store.executions.requeueIncarnation('inc-1', 9);
      time.now = T0 + 1_000;
      await bus.receipts.append([result('d0000', time.now)]);
      assert.is((await outcomes.end([KEY, D1], ending)).ended.length, 0);
      time.now += 10_000;
      await bus.leases.heard(worker, time.now);
      await deployment.end();
      assert.is(await deployment.execution(), 'queued: ');
      await deployment.apply();
      await deployment.end();
      assert.is(await deployment.execution(), 'succeeded: ');
      assert.match(await deployment.execution('d0001'), /^(canceled|superseded): ./);
    }));
}

test('sent executions expire once it is known that no acknowledgement came in time, others at once', () =>
  withDeployment(async (deployment) => {
    const { store, bus, time } = deployment;
    const worker = await deployment.worker(1, T0);
    await addDevices(store, 'd', 2);
    await addCommand(store, 'c1', { expiresAt: DUE });
    await store.executions.markSent([sent('c1', 'd0001', 1, worker)], T0);
    time.now = DUE + 1;
    await deployment.end();
    assert.is(await deployment.execution(), 'expired: not delivered in time');
    time.now = DUE + 1_000;
    await deployment.end();
    assert.is(await deployment.execution('d0001'), 'sent: ');
    await bus.leases.heard(worker, time.now);
    await deployment.end();
    assert.is(await deployment.execution('d0001'), 'expired: sent, but never acknowledged');
  }));

test('expired executions that are handled are not read again when others are due; waiting ones are', () =>
  withDeployment(async (deployment) => {
    const { store, bus, time } = deployment;
    const worker = await deployment.worker(1, T0);
    await addDevices(store, 'd', 2);
    await addCommand(store, 'c1', { expiresAt: DUE });
    await store.executions.markSent([sent('c1', 'd0001', 1, worker)], T0);
    const from: number[] = [];
    const due = store.executions.due.bind(store.executions);
    store.executions.due = (clock, before, after, limit, expiredUpTo) => {
      if (clock === 'delivery') from.push(expiredUpTo ?? 0);
      return due(clock, before, after, limit, expiredUpTo);
    };
    time.now = DUE + 1_000;
    await deployment.end();
    await deployment.end();
    assert.ok(from.every((upTo) => upTo < DUE));
    assert.is(await deployment.execution('d0001'), 'sent: ');
    await bus.leases.heard(worker, time.now);
    await deployment.end();
    assert.is(await deployment.execution('d0001'), 'expired: sent, but never acknowledged');
    from.length = 0;
    await addCommand(store, 'c2', { expiresAt: time.now + 10_000 });
    await store.executions.advance([report('c2', 'd0000', 'acked', { finishBy: time.now + 1_000 })]);
    time.now += 5_000;
    await bus.leases.heard(worker, time.now);
    await deployment.end();
    assert.is((await store.executions.get({ command: 'c2', device: 'd0000' }))?.state, 'timed-out');
    assert.ok(from.length > 0 && from.every((upTo) => upTo >= DUE), String(from));
  }));

test('due executions end without a request, soon after their gateway was heard', () =>
  withDeployment(async (deployment) => {
    const { bus, time } = deployment;
    await running(deployment);
    const worker = await deployment.worker(1);
    const finalizer = await deployment.restart();
    finalizer.start();
    try {
      time.now = DUE + 1_000;
      const rounds = finalizer.rounds;
      await waitFor(() => finalizer.rounds > rounds + 2);
      assert.is(await deployment.execution(), 'acked: ');
      await bus.leases.heard(worker, time.now);
      await waitFor(async () => (await deployment.execution()).startsWith('timed-out'), { timeoutMs: 5_000 });
    } finally {
      await finalizer.stop();
    }
  }));

/**
 * While `body` runs, time passes for `finalizer.ts` by its own pauses alone, so that a busy machine changes
 * nothing.
 */
async function inOwnTime(time: { now: number }, body: () => Promise<void>): Promise<void> {
  const [{ setTimeout: real }, { now }] = [globalThis, performance];
  globalThis.setTimeout = ((run: () => void, ms: number) => {
    if (!new Error().stack?.includes('ledger/finalizer')) return real(run, ms);
    time.now += ms;
    return setImmediate(run);
  }) as unknown as typeof setTimeout;
  performance.now = () => time.now;
  try {
    await body();
  } finally {
    globalThis.setTimeout = real;
    performance.now = now;
  }
}

test('where no gateway lags, what is due ends within two seconds: never sent, sent, or running', () =>
  withDeployment(async (deployment) => {
    const { store, bus, time } = deployment;
    const worker = await deployment.worker(1, T0);
    await bus.leases.onAskHeard(worker, () => void bus.leases.heard(worker, time.now));
    await addDevices(store, 'd', 3);
    const due = T0 + 3_333;
    await addCommand(store, 'c1', { expiresAt: due });
    await store.executions.markSent([sent('c1', 'd0001', 1, worker)], T0);
    await store.executions.advance([report('c1', 'd0002', 'acked', { ackedAt: T0, finishBy: due })]);
    const finalizer = await deployment.restart();
    const rows = () =>
      Promise.all(
        ['d0000', 'd0001', 'd0002'].map((device) => store.executions.get({ command: 'c1', device })),
      );
    await inOwnTime(time, async () => {
      finalizer.start();
      while ((await rows()).some((row) => row?.finishedAt === null) && time.now < due + 60_000) {
        await new Promise(setImmediate);
      }
      await finalizer.stop();
    });
    for (const row of await rows()) {
      const late = (row?.finishedAt ?? Number.POSITIVE_INFINITY) - due;
      assert.ok(late >= 0 && late <= 2_000, `${row?.deviceId} ${row?.state} after ${late} ms`);
    }
    assert.equal(
      (await rows()).map((row) => row?.state),
      ['expired', 'expired', 'timed-out'],
    );
  }));

test.run();
