import * as assert from 'uvu/assert';
import { waitFor } from '../wait.ts';
import type { Rule } from './bus-under-test.ts';
import { delivery, identity, LONG_MS, load } from './samples.ts';

export function leaseRules(rule: Rule): void {
  rule(
    'a lease is listed with the identity it was acquired with and the load it was last extended with',
    async ({ leases }) => {
      const incarnation = await leases.acquire(identity, load, LONG_MS);
      assert.equal(await leases.list(), [{ incarnation, identity, load }]);
      const busier = { ...load, connections: 12_345, cpu: 0.75, problem: 'port in use' };
      assert.is(await leases.extend(incarnation, busier, LONG_MS), 'held');
      assert.equal(await leases.list(), [{ incarnation, identity, load: busier }]);
    },
  );

  rule('every acquisition makes a new incarnation, also for the same worker', async ({ leases }) => {
    const first = await leases.acquire(identity, load, LONG_MS);
    const second = await leases.acquire(identity, load, LONG_MS);
    assert.is.not(first, second);
    assert.equal((await leases.list()).map((lease) => lease.incarnation).sort(), [first, second].sort());
  });

  rule(
    'a lease that is not extended expires, is listed no more, and is never revived',
    async ({ leases }) => {
      const other = await leases.acquire(identity, load, LONG_MS);
      const incarnation = await leases.acquire(identity, load, 60);
      await waitFor(async () => (await leases.list()).length === 1, { what: 'the lease to expire' });
      assert.is(await leases.extend(incarnation, load, LONG_MS), 'lost');
      assert.equal(
        (await leases.list()).map((lease) => lease.incarnation),
        [other],
      );
    },
  );

  rule('an extension counts from when it was made', async ({ leases }) => {
    const incarnation = await leases.acquire(identity, load, 60);
    const short = await leases.acquire(identity, load, 60);
    assert.is(await leases.extend(incarnation, load, LONG_MS), 'held');
    await waitFor(async () => (await leases.extend(short, load, 60)) === 'lost', {
      what: 'the other to expire',
      // Longer than the lease, or looking would keep it alive.
      intervalMs: 150,
    });
    assert.is(await leases.extend(incarnation, load, LONG_MS), 'held');
  });

  rule('release ends a lease and drops its outbox, and may come again', async ({ leases, outboxes }) => {
    const incarnation = await leases.acquire(identity, load, LONG_MS);
    await outboxes.append(incarnation, [delivery(1)]);
    await leases.release(incarnation);
    await leases.release(incarnation);
    assert.equal(await leases.list(), []);
    assert.is(await leases.extend(incarnation, load, LONG_MS), 'lost');
    assert.equal((await outboxes.read(incarnation, null, 10)).entries, []);
  });

  rule('an incarnation nobody ever had is lost', async ({ leases }) => {
    assert.is(await leases.extend('nobody', load, LONG_MS), 'lost');
  });
}
