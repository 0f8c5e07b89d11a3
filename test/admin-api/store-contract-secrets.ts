/** Keys of groups, and secret commands. */
import * as assert from 'uvu/assert';
import type { Store } from '../../admin-api/store/store.ts';
import { addCommand, addDevice, newCommand, report, T0 } from './store-fixtures.ts';
import type { Rule, StoreUnderTest } from './store-under-test.ts';

const TEXT = 'encrypted by the caller';

async function numberOf(store: Store, group: string, epoch = 1): Promise<number> {
  return (await store.groupKeys.current(group, epoch, T0, () => TEXT)).number;
}

async function numbersOf(store: Store, groups: readonly string[]): Promise<number[]> {
  const numbers: number[] = [];
  for (const group of groups) numbers.push(await numberOf(store, group));
  return numbers;
}

/** `all/a/b` and `all/c`, and a device in `b` and in `c`. */
async function tree(store: Store): Promise<void> {
  for (const [id, parentId] of [
    ['a', 'all'],
    ['b', 'a'],
    ['c', 'all'],
  ] as const) {
    await store.groups.create({ id, parentId, name: id, createdAt: T0 });
  }
  await addDevice(store, 'in-b', 'b');
  await addDevice(store, 'in-c', 'c');
}

const GROUPS = ['all', 'a', 'b', 'c'];

export function secretRules(rule: Rule, under: StoreUnderTest): void {
  rule('X-4: a group keeps its key, and each group and epoch has keys of its own', async (store) => {
    await tree(store);
    const made: string[] = [];
    const make = ({ group, epoch, number }: { group: string; epoch: number; number: number }) => {
      made.push(`${group} ${epoch} ${number}`);
      return made.at(-1) as string;
    };
    const first = await store.groupKeys.current('a', 1, T0, make);
    assert.equal(first, { group: 'a', epoch: 1, number: 1, sealedKey: 'a 1 1' });
    assert.equal(await store.groupKeys.current('a', 1, T0, make), first);
    await store.groupKeys.current('b', 1, T0, make);
    // After an older copy of the database was restored, an epoch begins.
    await store.groupKeys.current('a', 2, T0, make);
    assert.equal(made, ['a 1 1', 'b 1 1', 'a 2 1']);
    const found = await store.groupKeys.ofNames([first, { ...first, number: 9 }, { ...first, epoch: 2 }]);
    assert.equal(found.map(({ sealedKey }) => sealedKey).sort(), ['a 1 1', 'a 2 1']);
    assert.equal(await store.groupKeys.ofNames([]), []);
  });

  rule('X-4: a device that is blocked takes the keys of all its groups with it', async (store) => {
    await tree(store);
    assert.equal(await numbersOf(store, GROUPS), [1, 1, 1, 1]);
    await store.devices.setBlocked('in-b', T0);
    assert.equal(await numbersOf(store, GROUPS), [2, 2, 2, 1]);
    await store.devices.setBlocked('in-b', null);
    await store.devices.rename('in-b', 'another name');
    assert.equal(await numbersOf(store, GROUPS), [2, 2, 2, 1]);
    assert.is((await store.groupKeys.ofNames([{ group: 'a', epoch: 1, number: 1 }])).length, 1);
  });

  rule('X-4: a device that is deleted, or has another secret, takes the keys along too', async (store) => {
    await tree(store);
    await numbersOf(store, GROUPS);
    await store.groupKeys.left('in-c');
    assert.equal(await numbersOf(store, GROUPS), [2, 1, 1, 2]);
    await store.devices.delete('in-b', T0);
    assert.equal(await numbersOf(store, GROUPS), [3, 2, 2, 2]);
    await store.groupKeys.left('nobody');
    assert.equal(await numbersOf(store, GROUPS), [3, 2, 2, 2]);
  });

  rule('X-4: a device that is moved takes the keys of those groups alone that it leaves', async (store) => {
    await tree(store);
    await numbersOf(store, GROUPS);
    await store.devices.changeGroup('in-b', 'a');
    assert.equal(await numbersOf(store, GROUPS), [1, 1, 2, 1]);
    await store.devices.changeGroup('in-b', 'c');
    assert.equal(await numbersOf(store, GROUPS), [1, 2, 2, 1]);
    await store.devices.changeGroup('in-b', 'b');
    assert.equal(await numbersOf(store, GROUPS), [1, 2, 2, 2]);
    await store.devices.changeGroup('in-b', 'b');
    assert.equal(await numbersOf(store, GROUPS), [1, 2, 2, 2]);
  });

  rule('X-4: devices of a group that is moved leave the groups that were above it', async (store) => {
    await tree(store);
    await numbersOf(store, GROUPS);
    await store.groups.rename('b', 'renamed');
    assert.equal(await numbersOf(store, GROUPS), [1, 1, 1, 1]);
    await store.groups.move('b', 'c');
    assert.equal(await numbersOf(store, GROUPS), [1, 2, 1, 1]);
    await store.groups.move('c', 'a');
    assert.equal(await numbersOf(store, GROUPS), [1, 2, 1, 1]);
  });

  rule('X-4: a group that is deleted and made again has a new key', async (store) => {
    const made = { id: 'g', parentId: 'all', name: 'g', createdAt: T0 };
    await store.groups.create(made);
    assert.equal(await numbersOf(store, ['all', 'g']), [1, 1]);
    await store.groups.delete('g');
    await store.groups.create(made);
    assert.equal(await numbersOf(store, ['all', 'g']), [1, 2]);
  });

  rule('X-4: servers that need a key at once agree on one', async (store) => {
    const second = await under.second(store);
    const keys = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        (i % 2 === 0 ? store : second).groupKeys.current('all', 1, T0, () => `key ${i}`),
      ),
    );
    assert.is(new Set(keys.map(({ sealedKey }) => sealedKey)).size, 1);
  });

  rule('X-4: keys that have been stale for long are forgotten with the next new one', async (store) => {
    await tree(store);
    await numbersOf(store, ['b']);
    await store.devices.setBlocked('in-b', T0);
    await store.groupKeys.current('b', 1, Date.now() + 41 * 86_400_000, () => TEXT);
    assert.equal(await store.groupKeys.ofNames([{ group: 'b', epoch: 1, number: 1 }]), []);
    assert.is(await numberOf(store, 'b'), 2);
  });

  rule('a secret command has no arguments that can be read, and no data', async (store) => {
    await addDevice(store, 'd1');
    await addDevice(store, 'd2');
    const key = { group: 'all', epoch: 1, number: 1 };
    const sealed = { key, nonce: new Uint8Array([1, 2]), ct: new Uint8Array([3, 4, 5]) };
    const secret = { atRest: 'arguments at rest', sealed };
    await addCommand(store, 'c1', { args: null, secret });
    const stored = await store.commands.get('c1');
    assert.is(stored?.args, null);
    assert.is(stored?.secret?.atRest, secret.atRest);
    assert.equal(stored?.secret?.sealed?.key, key);
    assert.equal([...(stored?.secret?.sealed?.nonce ?? [])], [1, 2]);
    assert.equal([...(stored?.secret?.sealed?.ct ?? [])], [3, 4, 5]);
    const listed = newCommand('c2', { args: null, secret: { atRest: 'others', sealed: null } });
    await store.commands.createListed([{ ...listed, target: { devices: ['d1'] } }], T0);
    assert.equal((await store.commands.get('c2'))?.secret, { atRest: 'others', sealed: null });
    await addCommand(store, 'c3');
    assert.not('secret' in ((await store.commands.get('c3')) ?? {}));

    await store.executions.advance([
      report('c1', 'd1', 'succeeded', { finishedAt: T0, data: 'outcome at rest', secret: true }),
      report('c3', 'd1', 'succeeded', { finishedAt: T0, data: 'as it is' }),
    ]);
    const one = await store.executions.get({ command: 'c1', device: 'd1' });
    assert.equal([one?.data, one?.secret], [null, 'outcome at rest']);
    const other = await store.executions.get({ command: 'c1', device: 'd2' });
    assert.equal([other?.data, other?.secret], [null, null]);
    const ordinary = await store.executions.get({ command: 'c3', device: 'd1' });
    assert.equal([ordinary?.data, ordinary?.secret], ['as it is', undefined]);
    for (const withData of [true, false]) {
      const { items } = await store.executions.list({ command: 'c1' }, { limit: 10 }, withData);
      assert.equal(
        items.map(({ data }) => data),
        [null, null],
      );
      assert.ok(items.every(({ secret }) => secret !== undefined));
    }
  });
}
