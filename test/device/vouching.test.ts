import { mock } from 'node:test';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Vouching } from '../../device/gateways/vouching.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** At `gw-1`, which has no good pass, with a clock that the test sets. */
async function at(others: string[]) {
  let now = 0;
  mock.timers.enable({ apis: ['setTimeout'] });
  mock.method(performance, 'now', () => now);
  const counts = { passes: 0, left: 0, asked: 0 };
  const vouching = new Vouching({
    vouched: async () => 0,
    ask: () => counts.passes++,
    list: () => ['gw-1', ...others].map((name) => ({ name, url: `ws://${name}` })),
    leaveFor: () => counts.left++,
    askWhere: () => counts.asked++,
    random: () => 0.5,
  });
  await vouching.told('gw-1', undefined);
  const pass = (ms: number) => {
    for (const end = now + ms; now < end; ) {
      now += MINUTE;
      mock.timers.tick(MINUTE);
    }
  };
  return { counts, vouching, pass };
}

test.after.each(() => {
  mock.timers.reset();
  mock.restoreAll();
});

test('G-17: a device that finds no vouched gateway asks the server where to go, once an hour', async () => {
  const { counts, vouching, pass } = await at([]);
  assert.is(counts.asked, 0, 'not all at once');
  pass(MINUTE);
  assert.equal(counts, { passes: 1, left: 0, asked: 1 });
  pass(HOUR / 2);
  assert.is(counts.asked, 1);
  pass(HOUR / 2);
  assert.equal(counts, { passes: 61, left: 0, asked: 2 });
  vouching.left();
  pass(HOUR);
  assert.is(counts.asked, 2);
});

test('G-17: it asks too when another gateway could not take it', async () => {
  const { counts, vouching, pass } = await at(['gw-2']);
  assert.equal(counts, { passes: 0, left: 1, asked: 0 });
  await vouching.told('gw-1', undefined);
  pass(MINUTE);
  assert.equal(counts, { passes: 1, left: 1, asked: 1 });
});

test.run();
