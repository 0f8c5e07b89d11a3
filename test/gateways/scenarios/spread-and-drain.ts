import { setTimeout as pause } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { readEventStream } from '../../../cli/api/event-stream.ts';
import type { Arrival, FleetMember } from '../../fleet/fleet.ts';
import { DRAIN_PER_SECOND } from '../deployment.ts';
import { percent, type World } from '../world.ts';

const DEVICES = 4_000;
/** The administration server's default. */
const MOVES_PER_SECOND = 100;
/**
 * A device that is told to go arrives within a second or so: arrivals of two seconds' moves may fall into
 * one.
 */
const ARRIVALS_PER_SECOND = 2 * MOVES_PER_SECOND + 20;
/** The balancer looks every 3 s when there is nothing to do: this is two looks. */
const QUIET_MS = 7_000;

export async function spreadAndDrain(world: World): Promise<void> {
  const four = await world.gateways(4);
  const devices = await world.devices(world.share(DEVICES));
  await world.spreadHolds(four);
  await joins(world, devices);
  await drainTakenBack(world, 'gw3');
  await drainUnderWay(world, devices, 'gw2');
  await nobodyOverLimit(world);
  await world.deployment.api.request('DELETE', '/v1/gateways/gw2/drain');
  await world.gatewayTells(
    'gw2',
    'takes newcomers again',
    ({ state, draining }) => state === 'up' && !draining,
  );
}

async function joins(world: World, devices: readonly FleetMember[]): Promise<void> {
  const watch = watchMoves(world);
  const startedAt = Date.now();
  try {
    const five = await world.gateways(5);
    await world.spreadHolds(five);
    let quietSince = Date.now();
    let moves = 0;
    await world.until('the moves to end', 60_000, () => {
      const now = watch.total();
      if (now !== moves) quietSince = Date.now();
      moves = now;
      return Date.now() - quietSince >= QUIET_MS;
    });
    await world.allConnected();
    await world.spreadHolds(five);
  } finally {
    await watch.stop();
  }
  const moves = devices.map((member) => movesSince(member, startedAt));
  const movedTwice = moves.filter((own) => own.length > 1).length;
  assert.is(movedTwice, 0, `${movedTwice} devices moved more than once`);
  const moved = moves.flat();
  const told = most(
    watch.moves.flatMap(({ at, count }) => Array.from({ length: count }, () => at)),
    900,
  );
  const arrived = most(
    moved.map(({ at }) => at),
    1_000,
  );
  const joined = moved.filter(({ gateway }) => gateway === 'gw5').length;
  world.say(
    `${moved.length} moved once, ${joined} of them to gw5; at most ${told} told and ${arrived} arrived ` +
      'in a second',
  );
  assert.ok(joined > 0, 'a gateway that joins gets devices; was it there before?');
  assert.ok(told <= MOVES_PER_SECOND, `${told} moves in a second, ${MOVES_PER_SECOND} are allowed`);
  assert.ok(arrived <= ARRIVALS_PER_SECOND, `${arrived} arrivals in a second`);
  // One whose session ended by itself just then is told and does not hear it.
  assert.ok(
    moved.length >= watch.total() * 0.98,
    `${watch.total()} devices told to move, ${moved.length} did`,
  );
}

/** Arrivals on another gateway than the one before. */
function movesSince({ arrivals }: FleetMember, time: number): Arrival[] {
  return arrivals.filter(({ at, gateway }, n) => n > 0 && at >= time && gateway !== arrivals[n - 1]?.gateway);
}

/** A drain that is taken back half-way ends there: who is still there stays. */
async function drainTakenBack(world: World, name: string): Promise<void> {
  const { api } = world.deployment;
  const before = world.fleet.count(name);
  await api.request('POST', `/v1/gateways/${name}/drain`);
  await world.until(`${name} to lose a tenth`, 20_000, () => world.fleet.count(name) < before * 0.9);
  await api.request('DELETE', `/v1/gateways/${name}/drain`);
  const left = world.fleet.count(name);
  await world.gatewayTells(name, 'is up', ({ state, leaving }) => state === 'up' && !leaving);
  await world.allConnected();
  const stayed = world.fleet.on(name);
  world.say(`drain of ${name} taken back at ${left} of ${before} devices, ${stayed.length} stayed`);
  assert.ok(stayed.length > 0, `${name} was drained to its end`);
  // So long a drain that went on would take for all of them; a few may have been told to go just before.
  await pause((before / DRAIN_PER_SECOND) * 1_000);
  const still = stayed.filter(({ where }) => where?.gateway === name).length;
  assert.ok(
    still > stayed.length / 2,
    `${name} went on leaving: ${still} of ${stayed.length} devices are left`,
  );
}

async function drainUnderWay(world: World, devices: readonly FleetMember[], name: string): Promise<void> {
  const { api } = world.deployment;
  const had = world.fleet.count(name);
  const others = ['gw1', 'gw2', 'gw3', 'gw4', 'gw5'].filter((other) => other !== name);
  const sync = await world.ledger.send('sync', { group: 'all', devices: devices.map(({ id }) => id) });
  const began = performance.now();
  await api.request('POST', `/v1/gateways/${name}/drain`);
  const seen = new Set<number>();
  await world.gatewayTells(
    name,
    'is drained',
    ({ state, leaving, connections }) => {
      if (leaving) assert.is(leaving.why, 'drain');
      if (state === 'draining') seen.add(connections);
      return state === 'drained';
    },
    had * (1_000 / DRAIN_PER_SECOND) + 20_000,
  );
  const took = performance.now() - began;
  assert.ok(seen.size >= 2, `the drain showed ${seen.size} numbers on its way`);
  await world.allConnected();
  assert.is(world.fleet.count(name), 0);
  await world.until('the sync to have ended', 60_000, async () => {
    const { succeeded, total } = await world.ledger.counts(sync.id);
    return total === devices.length && succeeded === total;
  });
  world.say(
    `${name} drained of ${had} devices in ${(took / 1_000).toFixed(1)} s under a sync to all, ` +
      `${seen.size} steps seen`,
  );
  const pace = (had * 1_000) / took;
  assert.ok(pace <= DRAIN_PER_SECOND * 1.2, `${pace} devices a second sent away`);
  world.say(`spread over the other four ${percent(await world.spread(others))}`);
}

async function nobodyOverLimit(world: World): Promise<void> {
  for (const name of world.deployment.gateways) {
    const { connectionLimit } = await world.gateway(name);
    const peak = world.fleet.peaks.get(name) ?? 0;
    assert.ok(peak <= connectionLimit, `${name} had ${peak} devices, its limit is ${connectionLimit}`);
  }
}

/** What the balancer says it moves. */
function watchMoves(world: World): {
  moves: { at: number; count: number }[];
  total(): number;
  stop(): Promise<void>;
} {
  const moves: { at: number; count: number }[] = [];
  const ended = new AbortController();
  const reading = readEventStream({
    api: world.deployment.api,
    query: { type: 'balance' },
    signal: ended.signal,
    onEvent({ data }) {
      const { at, count } = JSON.parse(data) as { at: string; count: number };
      moves.push({ at: Date.parse(at), count });
    },
  });
  return {
    moves,
    total: () => moves.reduce((sum, { count }) => sum + count, 0),
    async stop() {
      ended.abort();
      await reading;
    },
  };
}

/** The most of these times that fall into any window of so many milliseconds. */
function most(times: readonly number[], windowMs: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  let first = 0;
  let result = 0;
  for (const [n, at] of sorted.entries()) {
    while (at - (sorted[first] ?? at) >= windowMs) first++;
    result = Math.max(result, n - first + 1);
  }
  return result;
}
