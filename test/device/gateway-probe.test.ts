import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GatewayChoice } from '../../device/gateway-choice.ts';
import { type Distances, PROBE_DEFAULTS, probeRound, tieBand } from '../../device/gateway-probe.ts';
import { GatewayWatch } from '../../device/gateway-watch.ts';
import type { GatewayAddress } from '../../protocol/index.ts';

const MINUTE = 60_000;
const gateway = (name: string): GatewayAddress => ({ name, url: `ws://${name}` });
const gateways = (names: string): GatewayAddress[] => [...names].map(gateway);
/** `{ a: 5 }` as what a round found; `null` for one that did not answer. */
const found = (times: Record<string, number | null>): Distances =>
  new Map(Object.entries(times).map(([name, ms]) => [`ws://${name}`, ms]));
const never = new AbortController().signal;

test('G-10: the median of three counts, and a gateway that cannot be measured is none', async () => {
  const times: Record<string, number[]> = { a: [90, 5, 7], b: [1, 2, 300] };
  const round = await probeRound(
    gateways('abc'),
    async ({ name }) => times[name] ?? Promise.reject(new Error('refused')),
    PROBE_DEFAULTS,
    never,
  );
  assert.equal(round, found({ a: 7, b: 2, c: null }));
});

test('G-10: a round goes to 8 gateways at most, 4 at a time', async () => {
  let open = 0;
  let most = 0;
  const round = await probeRound(
    gateways('abcdefghijkl'),
    async (_, { count, timeoutMs }) => {
      assert.equal([count, timeoutMs], [3, 2_000]);
      most = Math.max(most, ++open);
      await new Promise((resolve) => setImmediate(resolve));
      open--;
      return [1];
    },
    PROBE_DEFAULTS,
    never,
  );
  assert.is(most, 4);
  assert.equal(
    [...round.keys()].sort(),
    gateways('abcdefgh').map(({ url }) => url),
  );
});

test('G-11: the tie band goes to one and a half times the fastest and 10 ms', () => {
  const band = (times: Record<string, number | null>) =>
    [...tieBand(found(times), PROBE_DEFAULTS)].map((url) => url.slice(5)).join('');
  assert.is(band({ a: 1, b: 11.5, c: 11.6 }), 'ab');
  assert.is(band({ a: 161, b: 160, c: 100 }), 'bc');
  assert.is(band({ a: null, b: 5_000 }), 'b');
  assert.is(band({ a: null }), '');
});

function order(choice: GatewayChoice): string {
  return choice.list
    .map(() => {
      const { name } = choice.current() as GatewayAddress;
      choice.rotate();
      return name;
    })
    .join('');
}

test('G-11: in the band the order of the list decides; then slower ones, then those that did not answer', () => {
  const choice = new GatewayChoice(gateways('abcdef'));
  choice.arrange(found({ a: null, b: 80, c: 12, d: 3, e: null }));
  assert.is(order(choice), 'cdbfae');
  choice.replace(gateways('dfcba'));
  assert.is(order(choice), 'dcfba');
  choice.arrange(found({ a: null, b: null, c: null, d: null, f: null }));
  assert.is(order(choice), 'dfcba');
});

test('G-13: the gateway there is cause to leave comes last, however near', () => {
  const choice = new GatewayChoice(gateways('abc'));
  choice.arrange(found({ a: 1, b: 900, c: null }), 'ws://a');
  assert.is(order(choice), 'bca');
});

test('G-11: what was measured during a session does not change where the device returns to', () => {
  const choice = new GatewayChoice(gateways('abc'));
  choice.arrived(gateway('b'));
  choice.measured(found({ a: 1, b: 900, c: 2 }));
  assert.is(order(choice), 'bac');
});

/** A device at gateway `b` of `abc`, whose clock and rounds are the test's. */
function watched(balanced = false) {
  let now = 0;
  const w = {
    times: { a: 1, b: 900, c: 1 } as Record<string, number | null>,
    moves: [] as string[],
    rounds: 0,
  };
  const watch = new GatewayWatch({
    options: PROBE_DEFAULTS,
    round: async () => {
      w.rounds++;
      return found(w.times);
    },
    list: () => gateways('abc'),
    measured: () => {},
    move: ({ name }) => w.moves.push(name),
    random: () => 0.5,
    now: () => now,
  });
  watch.arrived('ws://b', balanced);
  const round = (minutes: number) => {
    now += minutes * MINUTE;
    return watch.check();
  };
  return Object.assign(w, { watch, round });
}

test('G-12: a device leaves a slower gateway after two rounds in a row, for the first of the list in the band', async () => {
  const w = watched();
  w.times.a = 40;
  await w.round(30);
  assert.equal(w.moves, []);
  await w.round(1);
  assert.equal(w.moves, ['c']);
  w.watch.left();
});

test('G-12: a round in the band in between, or one that could not measure the own gateway, begins the count anew', async () => {
  for (const between of [10, null]) {
    const w = watched();
    await w.round(30);
    w.times.b = between;
    await w.round(1);
    w.times.b = 900;
    await w.round(30);
    assert.equal(w.moves, []);
    await w.round(1);
    assert.equal(w.moves, ['a']);
    w.watch.left();
  }
});

test('G-12: a gateway that cannot be measured is not left, how near the others may be', async () => {
  const w = watched();
  w.times.b = null;
  for (let i = 0; i < 5; i++) await w.round(30);
  assert.equal(w.moves, []);
  w.watch.left();
});

test('G-12: a device stays for 10 minutes, a session lost and opened again at the same gateway included', async () => {
  const w = watched();
  for (let i = 0; i < 4; i++) await w.round(1);
  w.watch.left();
  w.watch.arrived('ws://b');
  for (let i = 0; i < 5; i++) await w.round(1);
  assert.equal(w.moves, []);
  await w.round(1);
  assert.equal(w.moves, ['a']);
  w.watch.left();
});

test('G-12: where it was sent for balance, a device stays for 6 hours', async () => {
  const w = watched(true);
  for (let i = 0; i < 11; i++) await w.round(30);
  assert.equal(w.moves, []);
  await w.round(30);
  assert.equal(w.moves, ['a']);
  w.watch.left();
});

test('G-12: a session that ended during a round is not moved by it', async () => {
  const w = watched();
  await w.round(30);
  const second = w.round(1);
  w.watch.left();
  await second;
  assert.equal(w.moves, []);
  await w.round(1);
  assert.is(w.rounds, 2);
});

test.run();
