import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GatewayChoice } from '../../device/gateways/choice.ts';
import { MeasureNews } from '../../device/gateways/measure-news.ts';
import { GatewayMeasures } from '../../device/gateways/measures.ts';
import { nearestFirst } from '../../device/gateways/nearness.ts';
import { type Distances, measuredOf, PROBE_DEFAULTS, probeRound } from '../../device/gateways/probe.ts';
import { GatewayWatch } from '../../device/gateways/watch.ts';
import { type GatewayAddress, tieBand, tieBands } from '../../protocol/index.ts';

const MINUTE = 60_000;
const gateway = (name: string): GatewayAddress => ({ name, url: `ws://${name}` });
const gateways = (names: string): GatewayAddress[] => [...names].map(gateway);
/** `{ a: 5 }` as what a round found; `null` for one that did not answer. */
const found = (times: Record<string, number | null>): Distances =>
  new Map(Object.entries(times).map(([name, ms]) => [`ws://${name}`, ms]));
const never = new AbortController().signal;

test('G-10: the shortest of three counts, and a gateway that cannot be measured is none', async () => {
  const times: Record<string, number[]> = { a: [90, 5, 7], b: [1, 2, 300] };
  const round = await probeRound(
    gateways('abc'),
    async ({ name }) => times[name] ?? Promise.reject(new Error('refused')),
    PROBE_DEFAULTS,
    never,
  );
  assert.equal(round, found({ a: 5, b: 1, c: null }));
});

test('G-10: a probe that throws or returns no times counts as failed, and the round continues', async () => {
  const given = [undefined, null, [Number.NaN], 'soon'];
  const round = await probeRound(
    gateways('abcdef'),
    ({ name }) => {
      if (name === 'a') throw new Error('at once');
      return Promise.resolve((name === 'f' ? [7] : given['bcde'.indexOf(name)]) as number[]);
    },
    PROBE_DEFAULTS,
    never,
  );
  assert.equal(round, found({ a: null, b: null, c: null, d: null, e: null, f: 7 }));
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
    [...tieBand(measuredOf(found(times)), PROBE_DEFAULTS)]
      .map((url) => url.slice(5))
      .sort()
      .join('');
  assert.is(band({ a: 1, b: 11.5, c: 11.6 }), 'ab');
  assert.is(band({ a: 161, b: 160, c: 100 }), 'bc');
  assert.is(band({ a: null, b: 5_000 }), 'b');
  assert.is(band({ a: null }), '');
  assert.equal(
    tieBands([
      ['far', 120],
      ['b', 45],
      ['near', 2],
      ['a', 40],
    ]),
    [['near'], ['a', 'b'], ['far']],
  );
});

const nearest = (list: GatewayAddress[], home?: string): GatewayChoice =>
  new GatewayChoice(list, home, nearestFirst(PROBE_DEFAULTS));

function order(choice: GatewayChoice): string {
  return choice.list
    .map(() => {
      const { name } = choice.current() as GatewayAddress;
      choice.rotate();
      return name;
    })
    .join('');
}

test('G-11: the list orders each band; bands by distance, then those not probed, then the silent', () => {
  const choice = nearest(gateways('abcdefgh'));
  choice.arrange(found({ a: null, b: 80, c: 12, d: 3, e: null, g: 200, h: 75 }));
  assert.is(order(choice), 'cdbhgfae');
  choice.replace(gateways('dfcba'));
  assert.is(order(choice), 'dcbfa');
  choice.arrange(found({ a: null, b: null, c: null, d: null, f: null }));
  assert.is(order(choice), 'dfcba');
});

test('G-13: the gateway there is cause to leave comes last, however near', () => {
  const choice = nearest(gateways('abc'));
  choice.arrange(found({ a: 1, b: 900, c: null }), 'ws://a');
  assert.is(order(choice), 'bca');
});

test('G-11: what was measured during a session does not change where the device returns to', () => {
  const choice = nearest(gateways('abc'));
  choice.arrived(gateway('b'));
  choice.measured(found({ a: 1, b: 900, c: 2 }));
  assert.is(order(choice), 'bac');
});

test('G-2, G-11: a device that loses its gateway dials the others in the order of its measurements', () => {
  for (const [lost, next] of [
    ['a', 'abdc'],
    ['b', 'badc'],
    ['c', 'cabd'],
  ] as const) {
    const choice = nearest(gateways('cdba'), `ws://${lost}`);
    choice.measured(found({ a: 2, b: 40, c: 300, d: 120 }));
    assert.is(order(choice), next);
    assert.is(order(choice), next, 'and again from the beginning');
    choice.arrived(gateway(lost));
    choice.ended(gateway(lost), { code: 1006, after: 'session' });
    assert.is(order(choice), next);
    choice.arrived(gateway(lost));
    choice.ended(gateway(lost), { code: 4200, after: 'session' });
    assert.is(order(choice).slice(0, 3), next.slice(1));
  }
});

test('G-3: of the gateways a redirect names the nearest comes first; to balance, the intended one', () => {
  const choice = nearest(gateways('abcd'), 'ws://a');
  choice.measured(found({ a: 2, b: 40, c: 300 }));
  choice.redirect(gateways('cdb'), 'ws://a');
  assert.is(order(choice).slice(0, 3), 'bcd');
  choice.redirect(gateways('cdb'), 'ws://a', true);
  assert.is(order(choice).slice(0, 3), 'cbd');
});

type Standing = ReturnType<GatewayMeasures['standing']>;

/** A device at gateway `b` of `abc`, whose clock and rounds are the test's. */
function watched(balanced = false, standing: Standing = 'near') {
  let now = 0;
  const w = {
    times: { a: 1, b: 900, c: 1 } as Record<string, number | null>,
    moves: [] as string[],
    rounds: 0,
    standing,
  };
  const watch = new GatewayWatch({
    options: PROBE_DEFAULTS,
    round: async () => {
      w.rounds++;
      return found(w.times);
    },
    list: () => gateways('abc'),
    standing: () => w.standing,
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

test('G-12: after two slow rounds in a row a device leaves for the first in the band', async () => {
  const w = watched();
  w.times.a = 40;
  await w.round(30);
  assert.equal(w.moves, []);
  await w.round(1);
  assert.equal(w.moves, ['c']);
  w.watch.left();
});

test('G-12: a round in the band, or without its own gateway, restarts the count', async () => {
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

test('G-12: a device stays for 10 minutes, sessions reopened at the same gateway included', async () => {
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
  const w = watched(true, 'away');
  for (let i = 0; i < 11; i++) await w.round(30);
  assert.equal(w.moves, []);
  await w.round(30);
  assert.equal(w.moves, ['a']);
  w.watch.left();
});

test('G-12: a device balanced among gateways equally near leaves by the usual rule', async () => {
  const w = watched(true);
  for (let i = 0; i < 10; i++) await w.round(1);
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

test('G-12: a device that lost the nearest returns at once, but not twice within ten minutes', async () => {
  const w = watched(false, 'away');
  await w.round(1);
  await w.round(1);
  assert.equal(w.moves, ['a']);
  w.watch.left();
  w.standing = 'near';
  w.watch.arrived('ws://a');
  w.watch.left();
  w.standing = 'away';
  w.watch.arrived('ws://b');
  for (let i = 0; i < 9; i++) await w.round(1);
  assert.equal(w.moves, ['a']);
  await w.round(1);
  assert.equal(w.moves, ['a', 'a']);
  w.watch.left();
});

/** The pauses that timers are set to while `run` runs. */
function pausesOf(run: () => void): number[] {
  const pauses: number[] = [];
  const real = globalThis.setTimeout;
  globalThis.setTimeout = ((_: () => void, ms: number) => {
    pauses.push(ms);
    return real(() => {}, 0);
  }) as typeof setTimeout;
  try {
    run();
  } finally {
    globalThis.setTimeout = real;
  }
  return pauses;
}

test('G-10: the next round comes within 2 minutes if not at the nearest, 10 if one was never probed', () => {
  for (const [standing, least, most] of [
    ['away', 1, 2],
    ['unsure', 1, 10],
    ['near', 15, 45],
  ] as const) {
    const pauses = [0, 0.999].flatMap((random) => {
      const watch = new GatewayWatch({
        options: PROBE_DEFAULTS,
        round: async () => found({}),
        list: () => gateways('ab'),
        standing: () => standing,
        measured: () => {},
        move: () => {},
        random: () => random,
      });
      return pausesOf(() => watch.arrived('ws://b'));
    });
    assert.is(pauses[0], least * MINUTE, standing);
    assert.ok((pauses[1] ?? 0) > most * 0.98 * MINUTE && (pauses[1] ?? 0) < most * MINUTE, standing);
  }
});

const measures = () => new GatewayMeasures(PROBE_DEFAULTS);

test('B-1: small changes are not reported, and a gateway silent for a while keeps its distance', () => {
  const held = measures();
  assert.ok(held.note(gateways('abc'), found({ a: 2, b: 40, c: 120 })));
  assert.not(held.note(gateways('abc'), found({ a: 6.9, b: 49, c: 91 })));
  assert.not(held.note(gateways('abc'), found({ a: null })));
  assert.equal(held.told, [
    { name: 'a', ms: 2 },
    { name: 'b', ms: 40 },
    { name: 'c', ms: 120 },
  ]);
  assert.equal(held.of(gateways('abc')), found({ a: null, b: 40, c: 120 }));
  assert.ok(held.note(gateways('abc'), found({ c: 80 })));
  assert.equal(new GatewayMeasures(PROBE_DEFAULTS, held.kept).told[2], { name: 'c', ms: 80 });
});

test('G-12: rivals are the gateways measured nearer and those never probed, and nobody else', () => {
  const held = measures();
  assert.is(held.standing(gateways('abcd'), 'b'), 'unsure');
  held.note(gateways('abc'), found({ a: 2, b: 40, c: 120 }));
  const rivals = (own: string) =>
    held
      .rivals(gateways('abcd'), own)
      .map(({ name }) => name)
      .join('');
  assert.equal([rivals('a'), rivals('b'), rivals('c')], ['ad', 'abd', 'abcd']);
  held.note(gateways('d'), found({ d: null }));
  assert.equal([rivals('a'), rivals('b')], ['a', 'ab']);
  assert.equal(
    ['a', 'b'].map((own) => held.standing(gateways('abcd'), own)),
    ['near', 'away'],
  );
});

test('B-1: measures are said once, again where a session ended right after, and after a day', () => {
  let now = 0;
  const news = new MeasureNews(() => now);
  const measured = [{ name: 'a', ms: 2 }];
  news.changed(measured);
  assert.ok(news.urgent);
  assert.is(news.take(), measured);
  assert.is(news.take(), undefined);
  news.unchanged(measured);
  assert.is(news.take(), undefined);
  news.sessionEnded();
  assert.not(news.urgent, 'it waits for the next beat');
  assert.is(news.take(), measured);
  now += 2 * MINUTE;
  news.sessionEnded();
  assert.is(news.take(), undefined);
  now += 24 * 60 * MINUTE;
  news.unchanged(measured);
  assert.is(news.take(), measured);
});

test.run();
