/**
 * Which moves balancing may make for devices that measured: within their tie band, or off what is over its
 * limit.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { classesOf, type Placed } from '../../admin-api/balance/classes.ts';
import type { FleetGateway } from '../../admin-api/balance/fleet.ts';
import { bandsOfText, nearestFirst, nearText } from '../../admin-api/balance/nearness.ts';
import { type BalanceGateway, planMoves } from '../../admin-api/balance/plan.ts';
import { seeded } from '../seeded.ts';

const usable = (...names: string[]) =>
  names.map((name) => ({ name, groupId: 'all', usable: true }) as FleetGateway);
const placed = (gateway: string, near: string, devices: number): Placed => ({
  groupId: 'all',
  groupPath: 'all/',
  gateway,
  near,
  devices,
});

test('what devices measured is stored as bands, alike for those of one place', () => {
  const known = new Set(['far', 'b', 'near', 'a']);
  const measured = [
    { name: 'far', ms: 120 },
    { name: 'b', ms: 45 },
    { name: 'near', ms: 2 },
    { name: 'a', ms: 49 },
  ];
  const text = nearText(measured, known);
  assert.is(text, 'near|a b|far');
  assert.equal(bandsOfText(text), [['near'], ['a', 'b'], ['far']]);
  assert.equal(bandsOfText(nearText([], known)), []);
  const madeUp = Array.from({ length: 20 }, (_, n) => ({ name: `made-up-${n}`, ms: 1 }));
  assert.is(nearText([...madeUp, ...measured], known), text, 'names of no gateway make no class');
  const names = nearestFirst([{ name: 'x' }, { name: 'far' }, { name: 'b' }, { name: 'near' }], text);
  assert.equal(
    names.map(({ name }) => name),
    ['near', 'b', 'far', 'x'],
  );
});

test('a device has a choice among the nearest that are usable, and none where it is elsewhere', () => {
  const choices = (row: Placed, ...names: string[]) => [
    ...(classesOf([row], usable(...names))[0]?.devices.keys() ?? []),
  ];
  assert.equal(choices(placed('a', '', 1), 'a', 'b', 'c'), ['a', 'b', 'c']);
  assert.equal(choices(placed('a', 'a b|c', 1), 'a', 'b', 'c'), ['a', 'b']);
  assert.equal(choices(placed('c', 'a b|c', 1), 'a', 'b', 'c'), ['c']);
  assert.equal(choices(placed('c', 'a b|c d', 1), 'c', 'd', 'e'), ['c', 'd']);
  assert.equal(choices(placed('e', 'a b', 1), 'e', 'f'), ['e']);
});

test('random fleets: devices leave their nearest band only for load above the limit of a gateway', () => {
  let moved = 0;
  let relieved = 0;
  for (let seed = 1; seed <= 200; seed++) {
    const next = seeded(seed);
    const names = ['a', 'b', 'c', 'd', 'e'].slice(0, 2 + Math.floor(next() * 4));
    const rows: Placed[] = [];
    for (const gateway of names) {
      const measured = names.map((name) => ({ name, ms: Math.floor(next() * 60) }));
      rows.push(placed(gateway, nearText(measured, new Set(names)), Math.floor(next() * 100)));
      rows.push(placed(names[0] as string, nearText(measured, new Set(names)), Math.floor(next() * 100)));
      if (next() < 0.5) rows.push(placed(gateway, '', Math.floor(next() * 50)));
    }
    const gateways = new Map<string, BalanceGateway>();
    for (const name of names) {
      const connections = rows.reduce((sum, row) => sum + (row.gateway === name ? row.devices : 0), 0);
      const limit = 50 + Math.floor(next() * 400);
      gateways.set(name, {
        limit,
        capacity: limit,
        connections,
        admitting: connections < limit,
        surplus: Math.max(0, connections - limit),
      });
    }
    const classes = classesOf(rows, usable(...names));
    const plan = planMoves(gateways, classes, new Set(classes.map(({ key }) => key)), 50);
    for (const { class: key, from, to, count } of plan.moves) {
      moved += count;
      const slices = classes.find((each) => each.key === key)?.slices.get(from) ?? [];
      assert.ok(slices.length > 0);
      for (const { near } of slices) {
        const nearest = bandsOfText(near)[0];
        assert.ok(
          !nearest || (nearest.includes(from) && nearest.includes(to)),
          `seed ${seed}: ${near} ${from} ${to}`,
        );
      }
    }
    for (const name of names) {
      const off = [...plan.moves, ...plan.reliefs].filter(({ from }) => from === name);
      const reliefs = plan.reliefs
        .filter(({ from }) => from === name)
        .reduce((sum, { count }) => sum + count, 0);
      relieved += reliefs;
      const surplus = gateways.get(name)?.surplus ?? 0;
      assert.ok(reliefs <= surplus, `seed ${seed}: ${reliefs} leave ${name} for ${surplus} too many`);
      assert.ok(off.reduce((sum, { count }) => sum + count, 0) <= 50);
    }
  }
  assert.ok(moved > 100 && relieved > 100, `${moved} moved, ${relieved} relieved`);
});

test.run();
