/** On PostgreSQL, transactions run side by side: whoever leaves a group while its key changes. */
import pg from 'pg';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DeviceService, type DeviceServiceParts } from '../../admin-api/services/device-service.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import type { Store } from '../../admin-api/store/store.ts';
import { startPostgres } from '../services/postgres.ts';
import { waitFor } from '../wait.ts';
import { addDevice, T0 } from './store-fixtures.ts';

const server = await startPostgres({ fsync: false });
const databaseUrl = await server.createDatabase();
const store = openStore({ databaseUrl, poolSize: 4, log: pino({ level: 'silent' }) });
await store.start();
const watch = new pg.Client({ connectionString: databaseUrl });
await watch.connect();

test.after(async () => {
  await watch.end();
  await store.stop();
  await server.stop();
});

const keyOf = (tx: Store, group: string) => tx.groupKeys.current(group, 1, T0, () => 'sealed');

/** Somebody waits for a lock. */
async function isWaiting(): Promise<boolean> {
  const { rows } = await watch.query('select 1 from pg_locks where not granted');
  return rows.length > 0;
}

/** Runs `second` once `first` has done its work and has not committed; which of the two ended first. */
async function overlapping(
  first: (tx: Store) => Promise<unknown>,
  second: (tx: Store) => Promise<unknown>,
): Promise<string[]> {
  const ended: string[] = [];
  let commit = () => {};
  const held = new Promise<void>((resolve) => {
    commit = resolve;
  });
  let begun = () => {};
  const worked = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const one = store
    .transaction(async (tx) => {
      await first(tx);
      begun();
      await held;
    })
    .then(() => ended.push('first'));
  await worked;
  const two = store.transaction((tx) => second(tx)).then(() => ended.push('second'));
  try {
    await waitFor(async () => ended.length > 0 || (await isWaiting()), { what: 'the second to end or wait' });
  } finally {
    commit();
  }
  await Promise.all([one, two]);
  return ended;
}

async function groupWith(device: string, group: string): Promise<void> {
  await store.groups.create({ id: group, parentId: 'all', name: group, createdAt: T0 });
  await addDevice(store, device, group);
}

const leavings: [how: string, leave: (tx: Store, device: string) => Promise<unknown>][] = [
  ['moves away', (tx, device) => tx.devices.changeGroup(device, 'all')],
  ['is blocked', (tx, device) => tx.devices.setBlocked(device, T0)],
  ['is deleted', (tx, device) => tx.devices.delete(device, T0)],
];

for (const [index, [how, leave]] of leavings.entries()) {
  test(`X-4: a key is made before a device ${how} or after it, and never meanwhile`, async () => {
    const [device, group] = [`d${index}`, `g${index}`];
    await groupWith(device, group);
    // Without a key there is nothing to go stale when the device leaves: a key of that moment would stay.
    const leavesFirst = await overlapping(
      (tx) => leave(tx, device),
      (tx) => keyOf(tx, group),
    );
    assert.equal(leavesFirst, ['first', 'second']);
    const [other, group2] = [`e${index}`, `h${index}`];
    await groupWith(other, group2);
    const leavesLast = await overlapping(
      (tx) => keyOf(tx, group2),
      (tx) => leave(tx, other),
    );
    assert.equal(leavesLast, ['first', 'second']);
    assert.is((await keyOf(store, group2)).number, 2, 'what the leaver may have got is stale');
  });
}

/** The store, and the names of what is called on it in transactions. */
function recorded(called: string[]): Store {
  const named = (tx: Store): Store =>
    new Proxy(tx, {
      get: (target, part: keyof Store) =>
        new Proxy(target[part] as object, {
          get: (methods, name: string) => {
            called.push(`${part}.${name}`);
            const method = (methods as unknown as Record<string, unknown>)[name];
            return typeof method === 'function' ? method.bind(methods) : method;
          },
        }),
    });
  return new Proxy(store, {
    get: (target, name) =>
      name === 'transaction'
        ? (work: (tx: Store) => Promise<unknown>) => target.transaction((tx) => work(named(tx)))
        : Reflect.get(target, name).bind(target),
  });
}

test('X-4: operators’ changes hold the keys before they touch a row', async () => {
  const enough = new Error('the transaction is over');
  const changes: [device: string, change: (service: DeviceService, id: string) => Promise<unknown>][] = [
    ['x1', (service, id) => service.change(id, { groupId: 'all' }, 'tester')],
    ['x2', (service, id) => service.change(id, { blocked: true }, 'tester')],
    ['x3', (service, id) => service.delete(id, 'tester')],
  ];
  await groupWith('x1', 'gx');
  for (const device of ['x2', 'x3']) await addDevice(store, device, 'gx');
  for (const [device, change] of changes) {
    const called: string[] = [];
    const hub = {
      notify: () => {
        throw enough;
      },
    };
    const parts = { store: recorded(called), hub, now: () => T0 };
    const service = new DeviceService(parts as unknown as DeviceServiceParts);
    await change(service, device).then(
      () => assert.unreachable(),
      (error) => assert.is(error, enough),
    );
    assert.is(called[0], 'groupKeys.hold', device);
  }
});

test.run();
