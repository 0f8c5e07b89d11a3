import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type BalanceClass, type BalanceGateway, planMoves } from '../../admin-api/balance/plan.ts';
import { rankGateways } from '../../bus/ranking.ts';
import { seeded } from '../seeded.ts';

interface SimGateway {
  limit: number;
  /** Groups whose devices it serves. */
  groups: string[];
  state: 'up' | 'gone' | 'draining';
}

/** A fleet whose devices rank, connect, and are moved. */
class Simulation {
  readonly gateways = new Map<string, SimGateway>();
  readonly devices = new Map<
    string,
    { group: string; at: string | null; moves: string[]; movedAt: number }
  >();
  active = new Set<string>();
  second = 0;
  deviation = 0;
  readonly dwell: number;
  constructor(dwell = 600) {
    this.dwell = dwell;
  }

  count(name: string): number {
    let n = 0;
    for (const device of this.devices.values()) if (device.at === name) n++;
    return n;
  }

  candidates(group: string): string[] {
    return [...this.gateways]
      .filter(([, gateway]) => gateway.state === 'up' && gateway.groups.includes(group))
      .map(([name]) => name)
      .sort();
  }

  /** As newcomers do: the first of the ranking that is not full. */
  connect(id: string): void {
    const device = this.devices.get(id);
    if (!device) return;
    const ranked = rankGateways(
      id,
      this.candidates(device.group).map((name) => ({ name, weight: this.gateways.get(name)?.limit ?? 0 })),
    );
    device.at =
      ranked.find(({ name }) => this.count(name) < (this.gateways.get(name)?.limit ?? 0))?.name ?? null;
  }

  leave(name: string, state: 'gone' | 'draining'): void {
    (this.gateways.get(name) as SimGateway).state = state;
    for (const [id, device] of this.devices) if (device.at === name) this.connect(id);
  }

  /** One look of the balancer, and what follows from it; returns how many devices moved. */
  step(budget: number): number {
    this.second += 1;
    const gateways = new Map<string, BalanceGateway>();
    for (const [name, { limit, state }] of this.gateways) {
      if (state !== 'up') continue;
      const connections = this.count(name);
      gateways.set(name, { limit, capacity: limit, connections, admitting: connections < limit, surplus: 0 });
    }
    const byKey = new Map<string, Map<string, number>>();
    for (const { group, at } of this.devices.values()) {
      const candidates = this.candidates(group);
      if (candidates.length === 0) continue;
      const key = candidates.join(' ');
      const counts = byKey.get(key) ?? new Map(candidates.map((name) => [name, 0]));
      byKey.set(key, counts);
      if (at !== null && counts.has(at)) counts.set(at, (counts.get(at) ?? 0) + 1);
    }
    const classes: BalanceClass[] = [...byKey].map(([key, devices]) => ({
      key,
      devices,
      scope: [...devices.keys()],
    }));
    const plan = planMoves(gateways, classes, this.active, budget);
    let moved = 0;
    for (const { class: key, from, to, count } of plan.moves) {
      assert.ok(this.active.has(key), 'only what was out of balance before is moved');
      let left = count;
      for (const device of this.devices.values()) {
        if (left === 0) break;
        if (device.at !== from || this.candidates(device.group).join(' ') !== key) continue;
        if (this.second - device.movedAt < this.dwell) continue;
        device.at = to;
        device.movedAt = this.second;
        device.moves.push(`${from} ${to}`);
        left--;
        moved++;
      }
      assert.ok(this.count(to) <= (this.gateways.get(to)?.limit ?? 0), `${to} is over its limit`);
    }
    assert.ok(moved <= budget, `${moved} moves of at most ${budget}`);
    this.active = plan.unbalanced;
    this.deviation = plan.deviation;
    return moved;
  }

  /** Steps until nothing is out of balance; returns the moves it took. */
  settle(budget: number, most = 400): number {
    let moved = 0;
    for (let i = 0; i < most; i++) {
      moved += this.step(budget);
      if (this.active.size === 0) return moved;
    }
    throw new Error(`not in balance after ${most} looks: ${this.shares()}`);
  }

  shares(): string {
    return [...this.gateways].map(([name, { limit }]) => `${name} ${this.count(name)}/${limit}`).join(', ');
  }

  assertSpread(within: number): void {
    const up = [...this.gateways].filter(([, gateway]) => gateway.state === 'up');
    const limits = up.reduce((sum, [, { limit }]) => sum + limit, 0);
    const connected = up.reduce((sum, [name]) => sum + this.count(name), 0);
    for (const [name, { limit }] of up) {
      const target = (connected * limit) / limits;
      assert.ok(
        Math.abs(this.count(name) - target) <= Math.max(within * target, 3),
        `${name}: ${this.shares()}`,
      );
    }
  }
}

function fleet(
  gateways: Record<string, number>,
  devices: number,
  groups = ['all'],
  prefix = 'd',
): Simulation {
  const simulation = new Simulation();
  for (const [name, limit] of Object.entries(gateways)) {
    simulation.gateways.set(name, { limit, groups, state: 'up' });
  }
  addDevices(simulation, devices, groups[0] as string, prefix);
  return simulation;
}

function addDevices(simulation: Simulation, count: number, group: string, prefix: string): void {
  for (let i = 0; i < count; i++) {
    const id = `${prefix}${i}`;
    simulation.devices.set(id, { group, at: null, moves: [], movedAt: Number.NEGATIVE_INFINITY });
    simulation.connect(id);
  }
}

test('a fleet that ranks by itself is left alone, or brought within 4 % once', () => {
  for (const devices of [1000, 4000]) {
    const simulation = fleet({ a: 5000, b: 5000, c: 5000, d: 5000 }, devices);
    simulation.settle(100);
    simulation.assertSpread(0.08);
    for (let i = 0; i < 20; i++) assert.is(simulation.step(100), 0);
  }
});

test('a gateway that joins gets its share, by bounded moves, and nobody moves twice', () => {
  const simulation = fleet({ a: 5000, b: 5000, c: 5000, d: 5000 }, 4000);
  simulation.settle(100);
  simulation.gateways.set('e', { limit: 5000, groups: ['all'], state: 'up' });
  const moved = simulation.settle(100);
  assert.ok(moved >= 750 && moved <= 900, `${moved} moves`);
  simulation.assertSpread(0.05);
  for (const { moves } of simulation.devices.values()) assert.ok(moves.length <= 1);
  for (let i = 0; i < 20; i++) assert.is(simulation.step(100), 0);
});

test('a gateway that is drained gets nobody, and its share again when it returns', () => {
  const simulation = fleet({ a: 3000, b: 3000, c: 3000, d: 3000 }, 4000);
  simulation.settle(100);
  simulation.leave('b', 'draining');
  simulation.settle(100);
  assert.is(simulation.count('b'), 0);
  simulation.assertSpread(0.08);
  (simulation.gateways.get('b') as SimGateway).state = 'up';
  simulation.second += 600;
  simulation.settle(100);
  simulation.assertSpread(0.05);
});

test('an imbalance that only one check sees moves nobody', () => {
  const simulation = fleet({ a: 5000, b: 5000 }, 1000);
  simulation.settle(100);
  const here = [...simulation.devices.values()].filter((device) => device.at === 'a').slice(0, 200);
  for (const device of here) device.at = 'b';
  assert.is(simulation.step(100), 0);
  for (const device of here) device.at = 'a';
  assert.is(simulation.step(100), 0);
  assert.is(simulation.active.size, 0);
});

test('gateways of different limits fill alike', () => {
  const simulation = fleet({ small: 1000, middle: 2000, large: 5000 }, 4000);
  for (const device of simulation.devices.values())
    device.at = simulation.count('small') < 1000 ? 'small' : 'large';
  simulation.settle(50);
  simulation.assertSpread(0.05);
});

test('devices that must be somewhere leave the room there to them', () => {
  const simulation = new Simulation();
  simulation.gateways.set('shared', { limit: 1000, groups: ['all', 'emea'], state: 'up' });
  simulation.gateways.set('wide', { limit: 1000, groups: ['emea'], state: 'up' });
  addDevices(simulation, 600, 'all', 'pinned');
  addDevices(simulation, 900, 'emea', 'free');
  simulation.settle(100);
  assert.ok(simulation.count('shared') <= 1000);
  assert.is(
    [...simulation.devices.values()].filter(({ group, at }) => group === 'all' && at !== 'shared').length,
    0,
  );
});

test('nobody is moved to a gateway that does not admit, or is full, and small differences stay', () => {
  const gateway = { limit: 100, capacity: 100, connections: 0, admitting: true, surplus: 0 };
  const plan = (to: Partial<BalanceGateway>, here: number, there: number) =>
    planMoves(
      new Map([
        ['a', { ...gateway, connections: here }],
        ['b', { ...gateway, connections: there, ...to }],
      ]),
      [
        {
          key: 'a b',
          devices: new Map([
            ['a', here],
            ['b', there],
          ]),
          scope: ['a', 'b'],
        },
      ],
      new Set(['a b']),
      1000,
    ).moves;
  assert.equal(plan({}, 60, 20), [{ class: 'a b', from: 'a', to: 'b', count: 19 }]);
  assert.equal(plan({ admitting: false }, 60, 20), []);
  assert.equal(plan({ connections: 95 }, 60, 20), []);
  assert.is(plan({ connections: 90 }, 60, 20)[0]?.count, 5);
  assert.equal(plan({}, 2, 0), []);
  assert.equal(plan({}, 0, 0), []);
});

test('random fleets with nested scopes converge within limits and bounds, without oscillation', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const next = seeded(seed);
    const pick = (most: number) => Math.floor(next() * most);
    const groups = ['all', 'emea', 'berlin', 'apac'];
    // A gateway of a group serves those below it as well.
    const below: Record<string, string[]> = {
      all: groups,
      emea: ['emea', 'berlin'],
      berlin: ['berlin'],
      apac: ['apac'],
    };
    const simulation = new Simulation();
    const count = 2 + pick(7);
    for (let i = 0; i < count; i++) {
      const scope = i < 2 ? 'all' : (groups[pick(groups.length)] as string);
      const limit = 300 + pick(1500);
      simulation.gateways.set(`gw${i}`, { limit, groups: below[scope] as string[], state: 'up' });
    }
    const room = ['gw0', 'gw1'].reduce((sum, name) => sum + (simulation.gateways.get(name)?.limit ?? 0), 0);
    const devices = 50 + pick(Math.floor(room * 0.7));
    for (let i = 0; i < devices; i++)
      addDevices(simulation, 1, groups[pick(groups.length)] as string, `s${i}-`);
    const budget = 10 + pick(100);
    simulation.settle(budget);
    for (let event = 0; event < 3; event++) {
      const name = `gw${1 + pick(count - 1)}`;
      const gateway = simulation.gateways.get(name) as SimGateway;
      for (const device of simulation.devices.values()) device.moves.length = 0;
      const what = pick(3);
      if (what === 0 && gateway.state === 'up') simulation.leave(name, next() < 0.5 ? 'gone' : 'draining');
      else if (what === 1) gateway.state = 'up';
      else simulation.gateways.set(`new${event}`, { limit: 500, groups, state: 'up' });
      // Those without a place look for one again, and some reconnect where their ranking says.
      for (const [id, device] of simulation.devices)
        if (device.at === null || next() < 0.02) simulation.connect(id);
      simulation.second += 600;
      simulation.settle(budget, 900);
      for (const { moves } of simulation.devices.values()) {
        assert.ok(moves.length <= 1, `seed ${seed}: ${moves.join(', ')}`);
      }
      for (const [each, { limit, state }] of simulation.gateways) {
        assert.ok(simulation.count(each) <= limit, `seed ${seed}: ${each} is over its limit`);
        if (state !== 'up') assert.is(simulation.count(each), 0);
      }
      for (const { group, at } of simulation.devices.values()) {
        if (at !== null) assert.ok(simulation.candidates(group).includes(at), `seed ${seed}: out of scope`);
      }
    }
  }
});

test.run();
