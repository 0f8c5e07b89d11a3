/** Transactions, events, audit, single values. */
import * as assert from 'uvu/assert';
import { StoreUnavailable } from '../../admin-api/store/store.ts';
import { addDevice, rejects, T0 } from './store-fixtures.ts';
import type { Rule, StoreUnderTest } from './store-under-test.ts';

export function journalRules(rule: Rule, under: StoreUnderTest): void {
  rule('a transaction is all or nothing, and calls inside join it', async (store) => {
    const failed = store.transaction(async (tx) => {
      await addDevice(tx, 'd1');
      await tx.transaction(async (inner) => addDevice(inner, 'd2'));
      assert.is(await tx.devices.count({}), 2);
      throw new Error('changed my mind');
    });
    await rejects(failed, (error) => assert.is(error.message, 'changed my mind'));
    assert.is(await store.devices.count({}), 0);
    assert.is(await store.transaction(async (tx) => addDevice(tx, 'd1').then(() => 'done')), 'done');
    assert.is(await store.devices.count({}), 1);
  });

  rule(
    'a call outside a transaction waits for it, and one from inside is refused, not stuck',
    async (store) => {
      const outside: Promise<unknown>[] = [];
      const inside = store.transaction(async (tx) => {
        await addDevice(tx, 'd1');
        await rejects(store.devices.get('d1'), (error) => assert.match(error.message, /inside/));
      });
      for (let i = 0; i < 20; i++) outside.push(addDevice(store, `x${i}`));
      await Promise.all([inside, ...outside]);
      assert.is(await store.devices.count({}), 21);
    },
  );

  rule('a stopped store says that it is unavailable', async (store) => {
    await store.stop();
    await store.stop();
    await rejects(store.devices.get('d'), (e) => assert.instance(e, StoreUnavailable));
  });

  rule('events keep their order and their numbers grow', async (store) => {
    assert.equal(await store.events.bounds(), { first: 0, last: 0 });
    await store.events.append([]);
    await store.events.append(Array.from({ length: 50 }, (_, i) => ({ at: T0 + i, type: 'x', data: { i } })));
    const events = await store.events.after(0, 100);
    assert.equal(
      events.map((event) => (event.data as { i: number }).i),
      Array.from({ length: 50 }, (_, i) => i),
    );
    const { first, last } = await store.events.bounds();
    assert.is(last - first, 49);
    assert.is((await store.events.after(last - 2, 100)).length, 2);
    assert.is((await store.events.after(0, 3)).length, 3);
    assert.is(await store.events.prune(T0 + 10, 1_000), 10);
    assert.is(await store.events.prune(0, 5), 35);
    assert.equal(await store.events.bounds(), { first: last - 4, last });
    assert.is(await store.events.prune(T0 * 2, 0), 5);
    await store.events.append([{ at: T0, type: 'x', data: null }]);
    assert.ok((await store.events.bounds()).first > last);
  });

  rule('no reader sees an event before one with a smaller number', async (store) => {
    const other = await under.second(store);
    let writing = true;
    const seen: number[] = [];
    const reader = (async () => {
      while (writing) {
        for (const { seq } of await store.events.after(seen.at(-1) ?? 0, 1_000)) seen.push(seq);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    const writer = async (server: typeof store) => {
      for (let i = 0; i < 40; i++) {
        await server.transaction(async (tx) => {
          await tx.events.append([
            { at: T0, type: 'a', data: i },
            { at: T0, type: 'b', data: i },
          ]);
          await tx.meta.set(`key-${i % 3}`, String(i));
        });
      }
    };
    // The same row written in the same order after the append: each waits for the one before.
    await Promise.all([writer(store), writer(other), writer(other)]);
    writing = false;
    await reader;
    for (const { seq } of await store.events.after(seen.at(-1) ?? 0, 1_000)) seen.push(seq);
    assert.equal(
      seen,
      (await store.events.after(0, 1_000)).map((event) => event.seq),
    );
    assert.is(seen.length, 240);
  });

  rule('the audit trail is read newest first', async (store) => {
    for (let i = 0; i < 5; i++) {
      await store.audit.append({ at: i, actor: 'system', action: 'a', subject: `s${i}`, detail: { i } });
    }
    const page = await store.audit.list({ limit: 2 });
    const next = await store.audit.list({ limit: 9, cursor: page.next ?? '' });
    assert.equal(
      [...page.items, ...next.items].map((entry) => entry.subject),
      ['s4', 's3', 's2', 's1', 's0'],
    );
    assert.equal(page.items[0]?.detail, { i: 4 });
  });

  rule('a value set once is the same for everyone who sets it', async (store) => {
    const other = await under.second(store);
    const values = await Promise.all(
      ['a', 'b', 'c'].map((v, i) => (i % 2 ? other : store).meta.setOnce('k', v)),
    );
    assert.is(new Set(values).size, 1);
    assert.is(await store.meta.get('k'), values[0]);
    await store.meta.set('k', 'z');
    assert.is(await store.meta.get('k'), 'z');
    assert.is(await store.meta.get('none'), null);
    assert.is(await store.meta.replace('k', 'y', 'x'), false);
    assert.is(await store.meta.replace('k', 'z', 'x'), true);
    assert.is(await store.meta.replace('new', null, 'first'), true);
    assert.is(await store.meta.replace('new', null, 'second'), false);
    assert.equal([await store.meta.get('k'), await store.meta.get('new')], ['x', 'first']);
    await store.meta.setMany([]);
    await store.meta.setMany([
      { key: 'job 1', value: 'a' },
      { key: 'job_2', value: 'b' },
    ]);
    await store.meta.setMany([{ key: 'job 1', value: 'c' }]);
    assert.equal(await store.meta.list('job '), [{ key: 'job 1', value: 'c' }]);
    await store.meta.delete([]);
    await store.meta.delete(['job 1', 'none']);
    assert.equal(await store.meta.list('job '), []);
    assert.is(await store.meta.get('job_2'), 'b');
  });
  rule(
    'a lease has one owner at a time, who keeps it, gives it back, or loses it to the clock',
    async (store) => {
      const other = await under.second(store);
      const taken = await Promise.all([
        store.meta.hold('job', 'a', 100, 1000),
        other.meta.hold('job', 'b', 100, 1000),
      ]);
      assert.is(taken.filter(Boolean).length, 1);
      const [owner, rival] = taken[0] ? ['a', 'b'] : ['b', 'a'];
      assert.is(await store.meta.hold('job', owner as string, 100, 1050), true);
      assert.is(await store.meta.hold('job', rival as string, 100, 1149), false);
      assert.is(await store.meta.hold('job', rival as string, 100, 1150), true);
      assert.is(await store.meta.hold('job', owner as string, 100, 1160), false);
      assert.is(await store.meta.hold('job', rival as string, 0, 1160), true);
      assert.is(await store.meta.hold('job', owner as string, 100, 1160), true);
      assert.is(await store.meta.hold('other', rival as string, 100, 1160), true);
    },
  );
}
