/** Up to when a worker's receipts were appended: told seldom, and when asked. */
import { mock } from 'node:test';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { HeardReports } from '../../gateway/receipts/heard-reports.ts';
import { identity, LONG_MS, load } from '../bus/samples.ts';
import { waitFor } from '../wait.ts';

async function withReports(
  body: (s: {
    bus: MemoryBus;
    reports: HeardReports;
    lease: { incarnation: string };
    upTo: { heard: number };
    told(incarnation: string): Promise<number>;
  }) => Promise<void>,
): Promise<void> {
  const bus = new MemoryBus();
  await bus.start();
  const lease = { incarnation: await bus.leases.acquire(identity, load, LONG_MS) };
  const upTo = { heard: 1 };
  const log = pino({ level: 'silent' });
  const incarnation = () => lease.incarnation;
  const reports = new HeardReports({ bus, heardUpTo: () => upTo.heard, incarnation, log });
  const told = async (of: string) =>
    (await bus.leases.list()).find((each) => each.incarnation === of)?.heardUpTo ?? 0;
  try {
    await body({ bus, reports, lease, upTo, told });
  } finally {
    await reports.stop();
    await bus.stop();
  }
}

test('a worker that nobody asks tells every 5 s', () =>
  withReports(async ({ bus, reports }) => {
    mock.timers.enable({ apis: ['setInterval'] });
    try {
      let times = 0;
      bus.leases.heard = async () => {
        times++;
      };
      reports.start();
      const settled = () => new Promise((resolve) => setImmediate(resolve));
      // At the start, and once more when it can be asked.
      await waitFor(() => times === 2);
      for (let passed = 0; passed < 4_900; passed += 100) {
        mock.timers.tick(100);
        await settled();
      }
      assert.is(times, 2);
      mock.timers.tick(100);
      await settled();
      assert.is(times, 3);
    } finally {
      mock.timers.reset();
    }
  }));

test('a worker that is asked tells at once, of the lease that it has', () =>
  withReports(async ({ bus, reports, lease, upTo, told }) => {
    const first = lease.incarnation;
    reports.renewed();
    await waitFor(async () => (await told(first)) === 1);
    for (let n = 2; n < 10; n++) {
      upTo.heard = n;
      await bus.leases.askHeard([first]);
      await waitFor(async () => (await told(first)) === n, { what: 'the answer' });
    }
    lease.incarnation = await bus.leases.acquire(identity, load, LONG_MS);
    reports.renewed();
    await waitFor(async () => (await told(lease.incarnation)) === 9);
    upTo.heard = 10;
    await bus.leases.askHeard([first, lease.incarnation]);
    await waitFor(async () => (await told(lease.incarnation)) === 10, { what: 'the answer' });
    assert.is(await told(first), 9);
  }));

test('a worker that could not listen to be asked tries again', () =>
  withReports(async ({ bus, reports, lease, upTo, told }) => {
    const { onAskHeard } = bus.leases;
    bus.leases.onAskHeard = () => Promise.reject(new Error('no subscription'));
    reports.renewed();
    await waitFor(async () => (await told(lease.incarnation)) === 1);
    bus.leases.onAskHeard = onAskHeard;
    reports.renewed();
    upTo.heard = 2;
    await waitFor(async () => (await told(lease.incarnation)) === 2);
    upTo.heard = 3;
    await bus.leases.askHeard([lease.incarnation]);
    await waitFor(async () => (await told(lease.incarnation)) === 3, { what: 'the answer' });
  }));

test.run();
