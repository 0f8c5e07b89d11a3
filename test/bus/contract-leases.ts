import * as assert from 'uvu/assert';
import type { Leases } from '../../bus/bus.ts';
import { waitFor } from '../wait.ts';
import type { Rule } from './bus-under-test.ts';
import { delivery, identity, LONG_MS, load } from './samples.ts';

/** What may be compared whole: the bus itself says when a lease began. */
async function listed(leases: Leases) {
  return (await leases.list()).map(({ since, serial: _, ...lease }) => ({ ...lease, hasBegun: since > 0 }));
}

export function leaseRules(rule: Rule): void {
  rule(
    'a lease is listed with the identity it was acquired with and the load it was last extended with',
    async ({ leases }) => {
      const incarnation = await leases.acquire(identity, load, LONG_MS);
      const lease = { incarnation, identity, heardUpTo: 0, hasBegun: true };
      assert.equal(await listed(leases), [{ ...lease, load }]);
      const busier = { ...load, connections: 12_345, cpu: 0.75, problem: 'port in use' };
      assert.is(await leases.extend(incarnation, busier, LONG_MS), 'held');
      assert.equal(await listed(leases), [{ ...lease, load: busier }]);
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

  rule('a lease says up to when receipts were heard, and only while it is held', async ({ leases }) => {
    const incarnation = await leases.acquire(identity, load, LONG_MS);
    await leases.heard(incarnation, 1_795_341_600_123);
    assert.is(await leases.extend(incarnation, load, LONG_MS), 'held');
    assert.equal(
      (await leases.list()).map(({ heardUpTo }) => heardUpTo),
      [1_795_341_600_123],
    );
    await leases.release(incarnation);
    await leases.heard(incarnation, 1_795_341_600_124);
    assert.equal(await leases.list(), []);
  });

  rule(
    'a worker that is asked up to when it heard is told so, until stopped, and no other',
    async ({ leases }) => {
      const [mine, others] = ['mine', 'others'];
      const asked = { mine: 0, others: 0 };
      const stop = await leases.onAskHeard(mine, () => {
        asked.mine += 1;
      });
      await leases.onAskHeard(others, () => {
        asked.others += 1;
      });
      await leases.askHeard([mine, 'nobody']);
      await waitFor(() => asked.mine > 0, { what: 'to be asked' });
      assert.is(asked.others, 0);
      await stop();
      await stop();
      const before = asked.mine;
      await leases.askHeard([mine, others]);
      await waitFor(() => asked.others > 0, { what: 'the other to be asked' });
      assert.is(asked.mine, before);
    },
  );

  rule('of two leases of one worker it is known which is newer', async ({ leases }) => {
    const first = await leases.acquire(identity, load, LONG_MS);
    const [{ since = 0 } = {}] = await leases.list();
    await waitFor(async () => {
      const next = await leases.acquire(identity, load, LONG_MS);
      const lease = (await leases.list()).find(({ incarnation }) => incarnation === next);
      return (lease?.since ?? 0) > since;
    });
    assert.ok((await leases.list()).some(({ incarnation }) => incarnation === first));
  });

  rule('a worker that leaves says whether all it heard was appended', async ({ leases }) => {
    const all = await leases.acquire(identity, load, LONG_MS);
    const some = await leases.acquire(identity, load, LONG_MS);
    assert.equal(await leases.left([all, some]), []);
    await leases.release(all, { allHeard: true });
    await leases.release(some);
    assert.equal(await leases.left([some, all, 'nobody']), [all]);
    assert.equal(await leases.left([]), []);
  });

  rule('an incarnation nobody ever had is lost', async ({ leases }) => {
    assert.is(await leases.extend('nobody', load, LONG_MS), 'lost');
  });
}
