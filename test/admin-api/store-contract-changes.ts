/** What operators change, one at a time; names that are unique among siblings; spans of time. */
import * as assert from 'uvu/assert';
import type { Store } from '../../admin-api/store/store.ts';
import { refused } from './store-contract-inventory.ts';
import { addCommand, addDevice, T0 } from './store-fixtures.ts';
import type { Rule, StoreUnderTest } from './store-under-test.ts';

const GATEWAY = {
  name: 'gw1',
  groupId: 'all',
  runPushServer: true,
  port: 13_295,
  address: 'ws://gw1:13295',
  connectionLimit: 10,
  revision: 1,
  drainingSince: null,
  drainedAt: null,
  createdAt: T0,
  updatedAt: T0,
};

/** Two transactions of two servers read a counter for a change and add one: none is lost. */
async function countsTwice(
  [one, other]: readonly [Store, Store],
  read: (tx: Store) => Promise<number>,
  write: (tx: Store, value: number) => Promise<unknown>,
): Promise<void> {
  const before = await read(one);
  await Promise.all(
    [one, other, one, other].map((store) => store.transaction(async (tx) => write(tx, (await read(tx)) + 1))),
  );
  assert.is(await read(one), before + 4);
}

export function changeRules(rule: Rule, under: StoreUnderTest): void {
  rule('what is read for a change is not changed by anybody else until that is done', async (store) => {
    const both = [store, await under.second(store)] as const;
    await store.groups.create({ id: 'g', parentId: 'all', name: '0', createdAt: T0 });
    await addDevice(store, 'd');
    await store.devices.rename('d', '0');
    await store.gateways.create(GATEWAY);
    const number = (record: { name: string } | null) => Number(record?.name);
    await countsTwice(
      both,
      async (tx) => number(await tx.groups.getForChange('g')),
      (tx, value) => tx.groups.rename('g', String(value)),
    );
    await countsTwice(
      both,
      async (tx) => number(await tx.devices.getForChange('d')),
      (tx, value) => tx.devices.rename('d', String(value)),
    );
    await countsTwice(
      both,
      async (tx) => (await tx.gateways.getForChange('gw1'))?.connectionLimit ?? 0,
      (tx, connectionLimit) => tx.gateways.update('gw1', { connectionLimit }, T0),
    );
    assert.equal(await store.groups.getForChange('g'), await store.groups.get('g'));
    assert.equal(await store.devices.getForChange('d'), await store.devices.get('d'));
    assert.equal(await store.gateways.getForChange('gw1'), await store.gateways.get('gw1'));
    for (const family of [store.groups, store.devices, store.gateways]) {
      assert.is(await family.getForChange('nobody'), null);
    }
  });

  rule('siblings have different names, however they come by them', async (store) => {
    const create = (id: string, name: string, parentId = 'all') =>
      store.groups.create({ id, parentId, name, createdAt: T0 });
    await create('a', 'Berlin');
    await refused('conflict', () => create('b', 'Berlin'));
    await create('b', 'berlin');
    await create('a1', 'Berlin', 'a');
    await refused('conflict', () => store.groups.rename('b', 'Berlin'));
    await refused('conflict', () => store.groups.move('a1', 'all'));
    await store.groups.rename('a', 'Berlin');
    await store.groups.move('a1', 'all', 'Potsdam');
    const { path, name } = (await store.groups.get('a1')) ?? {};
    assert.equal([path, name], ['all/a1/', 'Potsdam']);
    assert.is((await store.groups.list({ limit: 9, text: 'potsdam' })).items.length, 1);
    await store.groups.rename('all', 'Berlin');
  });

  rule('of two servers that give siblings one name at once, one does', async (store) => {
    const other = await under.second(store);
    const outcomes = await Promise.allSettled(
      [store, other].map((each, n) =>
        each.groups.create({ id: `twin${n}`, parentId: 'all', name: 'Twin', createdAt: T0 }),
      ),
    );
    assert.equal(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    assert.is((await store.groups.list({ limit: 9, text: 'twin' })).items.length, 1);
  });

  rule('lists of what has times give a span of them: from `since` on, and before `until`', async (store) => {
    await addDevice(store, 'd');
    const entry = { actor: 'a', action: 'x', detail: null };
    for (const n of [1, 2, 3]) {
      await addCommand(store, `c${n}`, { issuedAt: T0 + n, collapseKey: null });
      await store.audit.append({ ...entry, at: T0 + n, subject: `c${n}` });
      await store.events.append([{ at: T0 + n, type: 'command.created', data: { n } }]);
    }
    await store.executions.finish([{ command: 'c2', device: 'd' }], ['queued'], 'expired', 'late', T0 + 9);
    const page = { limit: 9 };
    for (const [span, ids] of [
      [{ since: T0 + 2 }, ['c3', 'c2']],
      [{ until: T0 + 2 }, ['c1']],
      [{ since: T0 + 2, until: T0 + 3 }, ['c2']],
    ] as const) {
      const commands = await store.commands.list(span, page);
      const executions = await store.executions.list({ device: 'd', ...span }, page);
      const audit = await store.audit.list({ ...page, ...span });
      assert.equal(
        [
          commands.items.map(({ id }) => id),
          executions.items.map(({ commandId }) => commandId),
          audit.items.map(({ subject }) => subject),
        ],
        [ids, ids, ids],
      );
    }
    for (const [finished, ids] of [
      [{ since: T0 + 9 }, ['c2']],
      [{ until: T0 + 9 }, []],
    ] as const) {
      const { items } = await store.executions.list({ device: 'd', finished }, page);
      assert.equal(
        items.map(({ commandId }) => commandId),
        ids,
      );
    }
    const second = (await store.events.after(0, 9)).find(({ at }) => at === T0 + 2)?.seq;
    assert.equal(
      [await store.events.firstSince(T0 + 2), await store.events.firstSince(T0 + 4)],
      [second, null],
    );
  });
}
