import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GatewayChoice } from '../../device/gateway-choice.ts';
import { Reconnect } from '../../device/index.ts';
import { retryAfterMs } from '../../device/retry-after.ts';
import { ServerClock } from '../../device/server-clock.ts';

const lost = { code: 1006, sessionMs: 0 };

test('C-4: the back-off doubles up to its cap', () => {
  const reconnect = new Reconnect({}, () => 1);
  const pauses = Array.from({ length: 9 }, () => reconnect.next(lost).inMs);
  assert.equal(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
});

test('C-4: the jitter covers all of the pause, also at the cap', () => {
  const values = [0, 0.25, 0.999];
  const reconnect = new Reconnect({}, () => values[0] as number);
  for (let i = 0; i < 2_000; i++) reconnect.next(lost);
  const capped = values.map((value) => {
    values[0] = value;
    return Math.round(reconnect.next(lost).inMs as number);
  });
  assert.equal(capped, [0, 15_000, 59_940]);
});

test('C-4: only a session that was stable starts the back-off anew', () => {
  const reconnect = new Reconnect({}, () => 1);
  for (let i = 0; i < 4; i++) reconnect.next(lost);
  assert.is(reconnect.next({ code: 1006, sessionMs: 59_000 }).inMs, 16_000);
  assert.is(reconnect.next({ code: 1006, sessionMs: 60_000 }).inMs, 1_000);
});

test('C-2: the range of a close code alone says when to try again', () => {
  const cases: [number, string][] = [
    [4000, 'now'],
    [4199, 'now'],
    [4200, 'back-off'],
    [4399, 'back-off'],
    [4400, 'never'],
    [4599, 'never'],
    [4600, 'back-off'],
    [1000, 'back-off'],
    [1006, 'back-off'],
    [3000, 'back-off'],
  ];
  for (const [code, advice] of cases) {
    const next = new Reconnect({}, () => 0.5).next({ code, sessionMs: 100_000 });
    assert.is(next.advice, advice, String(code));
    assert.is(next.inMs, advice === 'never' ? null : advice === 'now' ? 100 : 500, String(code));
  }
});

test('C-4: "now" is taken at its word once, until a session was stable', () => {
  const reconnect = new Reconnect({}, () => 1);
  assert.is(reconnect.next({ code: 4001, sessionMs: 10 }).inMs, 200);
  assert.is(reconnect.next({ code: 4001, sessionMs: 10 }).inMs, 1_000);
  assert.is(reconnect.next({ code: 4001, sessionMs: 10 }).inMs, 2_000);
  assert.is(reconnect.next({ code: 4001, sessionMs: 60_000 }).inMs, 200);
});

test('C-5: Retry-After is never undercut', () => {
  const reconnect = new Reconnect({}, () => 0);
  assert.is(reconnect.next({ ...lost, retryAfterMs: 7_000 }).inMs, 7_000);
  assert.is(retryAfterMs('120'), 120_000);
  assert.is(retryAfterMs('Thu, 01 Jan 1970 00:01:00 GMT', 30_000), 30_000);
  assert.is(retryAfterMs('soon'), undefined);
  assert.is(retryAfterMs('999999999'), 3_600_000);
});

const gateway = (name: string, scheme = 'ws') => ({ name, url: `${scheme}://${name}` });

test('G-2: gateways are tried in the order of the list, round and round', () => {
  const choice = new GatewayChoice([gateway('a'), gateway('b'), gateway('c')]);
  const tried = Array.from({ length: 4 }, () => {
    const name = choice.current()?.name;
    choice.rotate();
    return name;
  });
  assert.equal(tried, ['a', 'b', 'c', 'a']);
});

test('G-1: a new list replaces the old and is begun at its head; an empty one is ignored', () => {
  const choice = new GatewayChoice([gateway('a'), gateway('b')]);
  choice.rotate();
  assert.ok(choice.replace([gateway('c'), gateway('d')]));
  assert.is(choice.current()?.name, 'c');
  assert.not(choice.replace([]));
  assert.not(choice.replace([{ name: 'x', url: 'http://x' }]));
  assert.is(choice.list.length, 2);
});

test('G-3: those a redirect names come first, and never from TLS to none', () => {
  const choice = new GatewayChoice([gateway('a', 'wss')]);
  choice.redirect([gateway('plain'), gateway('b', 'wss'), gateway('c', 'wss')], 'wss://a');
  const tried = Array.from({ length: 3 }, () => {
    const name = choice.current()?.name;
    choice.rotate();
    return name;
  });
  assert.equal(tried, ['b', 'c', 'a']);
});

test('S-5: server time runs by the monotonic clock and never before the newest order', () => {
  let monotonic = 0;
  const clock = new ServerClock(500, () => monotonic);
  assert.is(clock.now(), 500);
  clock.told(1_000);
  monotonic = 250;
  assert.is(clock.now(), 1_250);
  clock.verified(9_000);
  assert.is(clock.now(), 9_000);
  clock.verified(8_000);
  assert.is(clock.now(), 9_000);
  monotonic = 10_000;
  assert.is(clock.now(), 11_000);
});

test.run();
