import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Connection } from '../../device/connection/connection.ts';
import { ServerClock } from '../../device/executions/server-clock.ts';
import { GatewayChoice } from '../../device/gateways/choice.ts';
import { inNamedOrder } from '../../device/gateways/named-order.ts';
import { nodeCrypto, Reconnect, wsDial } from '../../device/index.ts';
import { refusalGateways } from '../../device/platform/refusal-gateways.ts';
import { retryAfterMs } from '../../device/platform/retry-after.ts';
import { NO_EDITION } from '../../protocol/index.ts';
import { vectors } from '../protocol/vectors-file.ts';

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

test('C-4: only a stable session restarts the back-off', () => {
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
    [4401, 'slow'],
    [4599, 'slow'],
    [4600, 'back-off'],
    [1000, 'back-off'],
    [1006, 'back-off'],
    [3000, 'back-off'],
  ];
  for (const [code, advice] of cases) {
    const next = new Reconnect({}, () => 0.5).next({ code, sessionMs: 100_000 });
    assert.is(next.advice, advice, String(code));
    assert.is(next.inMs, advice === 'slow' ? 1_800_000 : advice === 'now' ? 100 : 500, String(code));
  }
});

test('C-2: who is refused tries the other gateways, and then waits up to an hour, again and again', () => {
  const reconnect = new Reconnect({}, () => 0.5);
  const refused = { code: 4402, sessionMs: 0, gateways: 3 };
  const pauses = Array.from({ length: 4 }, () => reconnect.next(refused).inMs);
  assert.equal(pauses, [500, 1_000, 1_800_000, 1_800_000]);
  assert.is(reconnect.next({ ...refused, sessionMs: 1 }).inMs, 2_000, 'a session began the count again');
});

test('C-4: a redirected device goes at once, however short its sessions; only failures back off', () => {
  const reconnect = new Reconnect({}, () => 1);
  for (let i = 0; i < 4; i++) reconnect.next(lost);
  for (let i = 0; i < 5; i++) assert.is(reconnect.next({ code: 4001, sessionMs: 1_500 }).inMs, 200);
  assert.is(reconnect.next(lost).inMs, 16_000);
});

test('C-4: gateways that send a device round and round are followed ten times, then once in 10 s', () => {
  let at = 0;
  const reconnect = new Reconnect(
    {},
    () => 1,
    () => at,
  );
  const followed = () => {
    let count = 0;
    while (reconnect.next({ code: 4001, sessionMs: 10 }).inMs === 200) count++;
    return count;
  };
  assert.is(followed(), 10);
  at = 9_999;
  assert.is(followed(), 0);
  at = 10_000;
  assert.is(followed(), 1);
  at = 3_600_000;
  assert.is(followed(), 10);
  at += 60_000;
  assert.is(reconnect.next({ code: 4001, sessionMs: 10 }).inMs, 200);
  assert.is(reconnect.next(lost).inMs, 16_000);
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

test('G-1: an address that cannot be dialed is left out of a list, and of a redirect', () => {
  const urls = ['ws://x/#a', 'ws://x#', 'ws://u:p@x', 'ws://u@x', 'ws://x:99999', 'ws://', 'http://x'];
  const bad = urls.map((url) => ({ name: 'x', url }));
  const choice = new GatewayChoice([...bad, gateway('a')], undefined, undefined, bad);
  assert.equal([choice.list, choice.older], [[gateway('a')], []]);
  assert.not(choice.replace(bad, 'ws://a'));
  choice.redirect(bad, 'ws://a');
  assert.not(choice.redirected);
});

test('a url that cannot be dialed leaves no timer behind', () => {
  const timers = () => process.getActiveResourcesInfo().filter((what) => what === 'Timeout').length;
  const before = timers();
  const credentials = {
    deviceId: 'd',
    privateKey: new Uint8Array(),
    software: '',
    caps: [],
    membership: NO_EDITION,
    keys: NO_EDITION,
    gateways: NO_EDITION,
  };
  const parts = { dial: wsDial(), crypto: nodeCrypto, credentials, handshakeTimeoutMs: 60_000 };
  const hooks = { welcome() {}, message() {}, ended() {} };
  assert.throws(() => new Connection({ name: 'x', url: 'wss://h/#x' }, parts, hooks));
  assert.is(timers(), before);
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

test('G-1, G-3: nothing a gateway says leads from TLS to none; a list from elsewhere may', () => {
  const choice = new GatewayChoice([gateway('a', 'wss')]);
  assert.not(choice.replace([gateway('plain')], 'wss://a'));
  assert.ok(choice.replace([gateway('plain'), gateway('b', 'wss')], 'wss://a'));
  assert.equal(
    choice.list.map(({ name }) => name),
    ['b'],
  );
  choice.redirect([gateway('plain')], 'wss://a');
  assert.not(choice.redirected);
  assert.ok(choice.replace([gateway('plain'), gateway('b', 'wss')], 'ws://plain'));
  assert.ok(choice.replace([gateway('plain')]));
});

test('G-1, G-3: names order the list and are looked up in it; what it does not hold is ignored', () => {
  const list = [gateway('a'), gateway('b'), gateway('c')];
  const order = (names: string[]) =>
    inNamedOrder(list, names)
      .map(({ name }) => name)
      .join();
  assert.is(order(['c', 'x', 'b']), 'c,b,a');
  assert.is(order(['b']), 'b,a,c');
  assert.is(order([]), 'a,b,c');
  const choice = new GatewayChoice(list);
  assert.equal(choice.known(['x', 'b', 'd', 'a']), [gateway('b'), gateway('a')]);
  const end = { code: 1006, after: 'dialing' as const, gateways: ['x', 'd'] };
  assert.not(choice.ended(gateway('c'), end).sent);
});

test('G-2: a new list does not make a device return to another gateway than its own', () => {
  const choice = new GatewayChoice([gateway('a'), gateway('b')]);
  assert.ok(choice.arrived(gateway('b')));
  assert.not(choice.arrived(gateway('b')));
  choice.replace([gateway('a'), gateway('c'), gateway('b')]);
  assert.is(choice.current()?.name, 'b');
});

test('G-1: older addresses stay behind a new list until a gateway of it has admitted the device', () => {
  const choice = new GatewayChoice([gateway('a'), gateway('b')]);
  choice.arrived(gateway('a'));
  choice.replace([gateway('c'), gateway('b')], 'ws://a');
  const round = () =>
    Array.from({ length: 4 }, () => {
      const name = choice.current()?.name;
      choice.rotate();
      return name;
    });
  assert.equal(round(), ['c', 'b', 'a', 'c']);
  choice.arrived(gateway('a'));
  choice.replace([gateway('d')], 'ws://a');
  const names = (list: readonly { name: string }[]) => list.map(({ name }) => name);
  assert.equal(names(choice.older), ['c', 'b', 'a']);
  const later = new GatewayChoice(choice.list, choice.home, undefined, choice.older);
  assert.is(later.size, 4);
  assert.ok(later.arrived(gateway('d')));
  assert.equal(names(later.older), []);
  assert.is(later.size, 1);
});

test('G-1: a device keeps 32 addresses at most, and none without TLS behind a list received by TLS', () => {
  const choice = new GatewayChoice([gateway('a'), gateway('b', 'wss')]);
  choice.replace([gateway('c', 'wss')], 'wss://b');
  assert.equal(
    choice.older.map(({ url }) => url),
    ['wss://b'],
  );
  for (let i = 0; i < 100; i++) choice.replace([gateway(`n${i}`, 'wss')], 'wss://b');
  assert.is(choice.older.length, 32);
  assert.is(choice.older[0]?.name, 'n98');
});

test('C-5: gateways named by a refusal are read; what is not like that is left out', () => {
  assert.equal(refusalGateways('gw-1,gw-2 ,  gw-3'), ['gw-1', 'gw-2', 'gw-3']);
  assert.equal(refusalGateways('gw 1, .x, gw-4 ws://d, , ws://e, gw-5'), ['gw-5']);
  assert.is(refusalGateways(Array(20).fill('gw-1').join()).length, 8);
  assert.equal(refusalGateways(undefined), []);
});

test('S-5: server time and its floor are as the vectors say', () => {
  for (const { name, steps } of vectors.serverTime) {
    let atMs = 0;
    let clock = new ServerClock(0, () => atMs);
    for (const [index, step] of steps.entries()) {
      atMs = step.atMs;
      if (step.restart) clock = new ServerClock(clock.floor, () => atMs);
      if (step.told !== undefined) clock.told(step.told);
      if (step.issuedAt !== undefined) clock.verified(step.issuedAt);
      assert.is(clock.now(), step.serverTime, `${name}, step ${index + 1}`);
      assert.is(clock.floor, step.floor, `${name}, step ${index + 1}`);
    }
  }
});

test('C-2, C-4, C-5: devices dial again in the ranges of the vectors', () => {
  for (const { name, steps } of vectors.backOff) {
    for (const random of [0, 0.999]) {
      let now = 0;
      const reconnect = new Reconnect(
        {},
        () => random,
        () => now,
      );
      for (const [index, { atMs = 0, withinMs, ...ended }] of steps.entries()) {
        now = atMs;
        const { inMs } = reconnect.next(ended);
        const what = `${name}, step ${index + 1}: ${inMs}`;
        assert.ok(inMs >= withinMs[0] && inMs <= withinMs[1], what);
      }
    }
  }
});

test.run();
