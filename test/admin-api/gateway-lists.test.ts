/** Signed lists of gateways: their numbers in the store, their signatures, and how they reach gateways. */
import { generateKeyPairSync } from 'node:crypto';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GatewayLists } from '../../admin-api/directory/gateway-lists.ts';
import { groupCreated, groupDeleted, groupMoved } from '../../admin-api/directory/list-record.ts';
import { ListsWriter } from '../../admin-api/directory/lists-writer.ts';
import { OrderSigner } from '../../admin-api/order-signer.ts';
import type { Meta } from '../../admin-api/store/store.ts';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { decodeGatewayMessage, decodeOrderBody, LIMITS } from '../../protocol/index.ts';
import { claim } from '../write-directory.ts';

const newKey = () => generateKeyPairSync('ed25519').privateKey;

function meta(): Pick<Meta, 'get' | 'replace'> {
  const values = new Map<string, string>();
  return {
    get: async (key) => values.get(key) ?? null,
    replace: async (key, before, value) => {
      if ((values.get(key) ?? null) !== before) return false;
      values.set(key, value);
      return true;
    },
  };
}

function listsOver(store: Pick<Meta, 'get' | 'replace'>, signer: OrderSigner, epoch = 1) {
  const logged: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => logged.push(line) });
  let now = 1_000;
  const lists = new GatewayLists({ meta: store as Meta, signer, epoch, now: () => now++, log });
  return { lists, logged };
}

const at = (group: string, name: string, url = `ws://${name}`) => ({ group, name, url });

test('G-18: a list has what serves its group, and a larger number whenever that may be another', async () => {
  const store = meta();
  const { lists } = listsOver(store, new OrderSigner(newKey()), 3);
  assert.is(lists.of('all/berlin/'), null);
  await lists.follow([at('all', 'gw2'), at('berlin', 'gw1'), at('paris', 'gw3')]);
  const read = (path: string) => {
    const order = decodeOrderBody(lists.of(path)?.order.body ?? new Uint8Array());
    assert.ok(order?.kind === 'gateways');
    return order;
  };
  const number = (path: string) => lists.of(path)?.edition;
  const berlin = read('all/berlin/kiosks/');
  assert.equal(berlin.target, { group: 'kiosks' });
  assert.equal(berlin.gateways, [
    { name: 'gw1', url: 'ws://gw1' },
    { name: 'gw2', url: 'ws://gw2' },
  ]);
  assert.equal([berlin.epoch, berlin.revision], [3, 1]);
  const before = lists.of('all/berlin/kiosks/');
  await lists.follow([at('paris', 'gw3'), at('berlin', 'gw1'), at('all', 'gw2')]);
  assert.is(lists.of('all/berlin/kiosks/'), before, 'signed once, and nothing changed');
  await lists.follow([at('all', 'gw2'), at('berlin', 'gw1', 'ws://gw1:2'), at('paris', 'gw3')]);
  assert.equal(
    [number('all/berlin/kiosks/'), number('all/'), number('all/paris/')],
    [
      [3, 2],
      [3, 1],
      [3, 1],
    ],
  );
  await lists.follow([at('all', 'gw2'), at('berlin', 'gw1', 'ws://gw1:2'), at('all', 'gw3')]);
  assert.equal(
    [number('all/berlin/'), number('all/paris/')],
    [
      [3, 3],
      [3, 3],
    ],
  );
  await groupMoved(store, 'kiosks', 5_000);
  await lists.read();
  assert.equal(number('all/paris/kiosks/tills/'), [3, 4], 'whatever is in a group that moved');
  assert.equal(read('all/paris/kiosks/').issuedAt, 5_000);
  assert.equal(number('all/paris/'), [3, 3]);
  await lists.follow([]);
  assert.is(lists.of('all/'), null);
});

test('G-18: a group that is made again gets newer lists than any that its name had before', async () => {
  const store = meta();
  const { lists } = listsOver(store, new OrderSigner(newKey()));
  await lists.follow([at('all', 'gw1')]);
  await lists.follow([at('all', 'gw1'), at('berlin', 'gw2')]);
  const old = lists.of('all/berlin/');
  await lists.follow([at('all', 'gw1')]);
  await groupDeleted(store, 'berlin', 1);
  await groupCreated(store, 1);
  await lists.read();
  const [, before = 0] = old?.edition ?? [];
  const [, now = 0] = lists.of('all/berlin/')?.edition ?? [];
  assert.ok(now > before, `${now} after ${before}`);
});

test('servers on one database make the same bytes of a list, whoever numbered it', async () => {
  const store = meta();
  const key = newKey();
  const [one, two] = [listsOver(store, new OrderSigner(key)), listsOver(store, new OrderSigner(key))];
  await Promise.all([one, two].map(({ lists }) => lists.follow([at('all', 'gw1'), at('all', 'gw2')])));
  assert.equal(one.lists.of('all/')?.frame, two.lists.of('all/')?.frame);
  assert.is(one.lists.mark, two.lists.mark);
});

test('G-18: gateways for which a list has no room are left out, and an operator is told', async () => {
  const { lists, logged } = listsOver(meta(), new OrderSigner(newKey()));
  const many = (count: number, urlLength: number) =>
    Array.from({ length: count }, (_, n) => at('all', `gw${n}`, `ws://${'x'.repeat(urlLength - 5)}`));
  const named = () => {
    const order = decodeOrderBody(lists.of('all/')?.order.body ?? new Uint8Array());
    return order?.kind === 'gateways' ? order.gateways.length : 0;
  };
  await lists.follow(many(LIMITS.listedGateways + 2, 20));
  assert.is(named(), LIMITS.listedGateways);
  await lists.follow(many(LIMITS.listedGateways, LIMITS.urlLength));
  assert.ok(named() > 50 && named() < 64, `${named()} of the longest urls`);
  assert.match(logged.join(), 'too many gateways for one list');
});

test('every group has a list in the directory, also after a loss, a new group and a rotation', async () => {
  const store = meta();
  const [key, next] = [newKey(), newKey()];
  const signer = new OrderSigner(key);
  const { lists } = listsOver(store, signer);
  const bus = new MemoryBus();
  await bus.start();
  await claim(bus);
  const { directory } = bus;
  const groups = [
    { id: 'all', path: 'all/' },
    { id: 'berlin', path: 'all/berlin/' },
  ];
  let puts = 0;
  const writer = new ListsWriter({
    lists,
    groups: { scan: async (after, limit) => groups.filter(({ id }) => id > after).slice(0, limit) },
    directory: {
      putLists: async (some) => {
        puts += some.length;
        await directory.putLists(some);
      },
      markLists: (mark, kept) => directory.markLists(mark, kept),
      listsMark: () => directory.listsMark(),
    },
    stopping: () => false,
  });
  const written = async (again = false) => {
    const before = puts;
    await writer.write(again);
    return puts - before;
  };
  await lists.follow([at('all', 'gw1')]);
  assert.is(await written(), 2);
  assert.is(await written(), 0);
  groups.push({ id: 'kiosks', path: 'all/berlin/kiosks/' });
  await groupCreated(store, 1);
  await lists.read();
  assert.is(await written(), 1, 'only the new one');
  const [kiosks] = await directory.lists(['kiosks']);
  assert.equal(kiosks?.frame, lists.of('all/berlin/kiosks/')?.frame);
  assert.is(decodeGatewayMessage(kiosks?.frame ?? new Uint8Array())?.t, 'order');
  await directory.markLists('lost', new Set());
  assert.is(await written(), 3);
  groups.splice(1, 1);
  await groupDeleted(store, 'berlin', 1);
  await lists.read();
  await written();
  assert.equal(await directory.lists(['berlin']), [null]);
  // Another server may sign with the next key already: those lists stay until the rotation is complete.
  signer.use(next, [signer.publicKey, new OrderSigner(next).publicKey]);
  assert.is(await written(), 0);
  assert.is(await written(true), 2);
  signer.use(next, [signer.publicKey]);
  assert.is(await written(), 0);
  await bus.stop();
});

test.run();
