import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { FleetGateway } from '../../admin-api/balance/fleet.ts';
import { GatewayAddresses } from '../../admin-api/directory/gateway-addresses.ts';
import type { Meta } from '../../admin-api/store/store.ts';

const DAY_MS = 86_400_000;

function meta(): Pick<Meta, 'get' | 'replace'> & { races: (() => void)[] } {
  const values = new Map<string, string>();
  const races: (() => void)[] = [];
  return {
    races,
    get: async (key) => values.get(key) ?? null,
    replace: async (key, before, value) => {
      races.shift()?.();
      if ((values.get(key) ?? null) !== before) return false;
      values.set(key, value);
      return true;
    },
  };
}

const gateway = (name: string, port?: number) =>
  ({ name, ...(port && { serves: { port, address: `ws://${name}:${port}` } }) }) as FleetGateway;

test('an address counts once a worker listens there, and until the gateway is deleted', async () => {
  const store = meta();
  const addresses = new GatewayAddresses(store, () => 0);
  await addresses.follow([gateway('gw1'), gateway('gw2', 2)]);
  assert.is(addresses.of('gw1'), undefined);
  assert.equal(addresses.of('gw2'), { port: 2, address: 'ws://gw2:2', former: [] });
  await addresses.follow([gateway('gw1'), gateway('gw2')]);
  assert.is(addresses.of('gw2')?.port, 2);
  const another = new GatewayAddresses(store, () => 0);
  await another.follow([gateway('gw1', 1), gateway('gw2')]);
  assert.equal([another.of('gw1')?.port, another.of('gw2')?.port], [1, 2]);
  await another.follow([gateway('gw1')]);
  assert.is(another.of('gw2'), undefined);
});

test('former ports are kept for 30 days, four at most, until they are used again or released', async () => {
  let now = 0;
  const addresses = new GatewayAddresses(meta(), () => now);
  const former = () => addresses.of('gw1')?.former.map(({ port }) => port);
  for (const port of [1, 2, 3, 4, 5, 6]) await addresses.follow([gateway('gw1', port)]);
  assert.equal(former(), [5, 4, 3, 2]);
  now = 10 * DAY_MS;
  await addresses.follow([gateway('gw1', 4)]);
  assert.equal(former(), [6, 5, 3, 2]);
  now = 30 * DAY_MS;
  await addresses.follow([gateway('gw1')]);
  assert.equal(former(), [6]);
  await addresses.forgetFormer('gw1');
  assert.equal(former(), []);
  await addresses.forgetFormer('nobody');
});

test('two servers that record at the same time lose nothing of each other', async () => {
  const store = meta();
  const [one, two] = [new GatewayAddresses(store, () => 0), new GatewayAddresses(store, () => 0)];
  await one.follow([gateway('gw1', 1), gateway('gw2', 2)]);
  let other: Promise<void> | undefined;
  store.races.push(() => {
    other = two.follow([gateway('gw1', 10), gateway('gw2')]);
  });
  await one.follow([gateway('gw1'), gateway('gw2', 20)]);
  await other;
  await one.follow([gateway('gw1'), gateway('gw2')]);
  const former = (name: string) => one.of(name)?.former.map(({ port }) => port);
  assert.equal([former('gw1'), former('gw2')], [[1], [2]]);
});

test.run();
