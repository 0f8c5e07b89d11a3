import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { rankGateways } from '../../bus/ranking.ts';

const devices = Array.from({ length: 20_000 }, (_, i) => `d${i.toString(32).padStart(12, '0')}`);

function firstShares(gateways: { name: string; weight: number }[]): Map<string, number> {
  const shares = new Map(gateways.map(({ name }) => [name, 0]));
  for (const device of devices) {
    const first = rankGateways(device, gateways)[0]?.name as string;
    shares.set(first, (shares.get(first) ?? 0) + 1 / devices.length);
  }
  return shares;
}

function assertNear(actual: number | undefined, expected: number, tolerance: number): void {
  assert.ok(
    Math.abs((actual ?? 0) - expected) <= tolerance,
    `${actual} is not within ${tolerance} of ${expected}`,
  );
}

test('first places are spread by weight', () => {
  const even = firstShares(['gw1', 'gw2', 'gw3', 'gw4'].map((name) => ({ name, weight: 50_000 })));
  for (const share of even.values()) assertNear(share, 0.25, 0.012);
  const uneven = firstShares([
    { name: 'a', weight: 1000 },
    { name: 'b', weight: 2000 },
    { name: 'c', weight: 5000 },
  ]);
  assertNear(uneven.get('a'), 0.125, 0.012);
  assertNear(uneven.get('b'), 0.25, 0.012);
  assertNear(uneven.get('c'), 0.625, 0.015);
});

test('second places are spread as well, so the devices of a failed gateway do not all go to one', () => {
  const gateways = ['gw1', 'gw2', 'gw3', 'gw4'].map((name) => ({ name, weight: 1 }));
  const seconds = new Map<string, number>();
  let ofFirst = 0;
  for (const device of devices) {
    const [first, second] = rankGateways(device, gateways);
    if (first?.name !== 'gw1' || !second) continue;
    ofFirst++;
    seconds.set(second.name, (seconds.get(second.name) ?? 0) + 1);
  }
  for (const name of ['gw2', 'gw3', 'gw4']) assertNear((seconds.get(name) ?? 0) / ofFirst, 1 / 3, 0.03);
});

test('a gateway that joins takes its share and moves nobody between the others', () => {
  const before = ['gw1', 'gw2', 'gw3', 'gw4'].map((name) => ({ name, weight: 1 }));
  const after = [...before, { name: 'gw5', weight: 1 }];
  let moved = 0;
  for (const device of devices) {
    const was = rankGateways(device, before)[0]?.name;
    const is = rankGateways(device, after)[0]?.name;
    if (was === is) continue;
    assert.is(is, 'gw5');
    moved++;
  }
  assertNear(moved / devices.length, 0.2, 0.012);
});

test('a gateway of weight 0 comes last, and still in an order', () => {
  const gateways = [
    { name: 'full', weight: 0 },
    { name: 'also-full', weight: 0 },
    { name: 'free', weight: 0.001 },
  ];
  for (const device of devices.slice(0, 200)) assert.is(rankGateways(device, gateways)[0]?.name, 'free');
  assert.equal(
    rankGateways('d1', gateways).map(({ name }) => name),
    rankGateways('d1', [...gateways].reverse()).map(({ name }) => name),
  );
});

test('the order is the same for everyone who computes it', () => {
  const gateways = ['gw1', 'gw2', 'gw3'].map((name) => ({ name, weight: 50_000 }));
  assert.equal(
    ['device-a', 'device-b', 'device-c', 'device-d'].map((device) =>
      rankGateways(device, gateways)
        .map(({ name }) => name.slice(2))
        .join(''),
    ),
    ['123', '312', '321', '231'],
  );
});

test.run();
