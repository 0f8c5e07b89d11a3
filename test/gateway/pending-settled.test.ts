import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PendingSettled } from '../../gateway/sessions/pending-settled.ts';
import type { AdmittedConnection } from '../../gateway/sessions/session.ts';
import { decodeGatewayMessage, LIMITS } from '../../protocol/index.ts';

const session = (id: number) => ({ id }) as AdmittedConnection;
const command = (id: string) => ({ id, state: 'succeeded' as const });

test('sessions that wait for the same commands share one list and one frame', () => {
  const pending = new PendingSettled();
  const [a, b, c] = [session(1), session(2), session(3)];
  const [first, second] = [command('c1'), command('c2')];
  for (const each of [a, b, c]) pending.add(each, first, 1);
  for (const each of [a, b]) pending.add(each, second, 2);
  const [listA, listB, listC] = [pending.take(a), pending.take(b), pending.take(c)];
  assert.is(listA, listB);
  assert.equal(listC?.commands, [first]);
  const answer = decodeGatewayMessage(listA?.answer(1_795_341_600_000) as Uint8Array);
  assert.equal(answer, { t: 'beat', time: 1_795_341_600_000, settled: ['c1', 'c2'] });
  assert.is(pending.size, 0);
});

test('a command that comes again while it waits is reported once', () => {
  const pending = new PendingSettled();
  const one = session(1);
  for (const id of ['c1', 'c2', 'c1']) pending.add(one, command(id), 1);
  assert.equal(
    pending.take(one)?.commands.map(({ id }) => id),
    ['c1', 'c2'],
  );
});

test('a session waits for no more commands than an answer may settle', () => {
  const pending = new PendingSettled();
  const one = session(1);
  for (let number = 1; number < LIMITS.settled; number++) {
    assert.is(pending.add(one, command(`c${number}`), 1), null);
  }
  const now = pending.add(one, command('last'), 1);
  assert.is(now?.commands.length, LIMITS.settled);
  assert.is(now?.frames.length, LIMITS.settled);
  assert.is(pending.size, 0);
});

test('sessions are found by their oldest command, so many at a time', () => {
  const pending = new PendingSettled();
  const [a, b, c] = [session(1), session(2), session(3)];
  pending.add(a, command('c1'), 1);
  pending.add(b, command('c1'), 2);
  pending.add(a, command('c2'), 3);
  pending.add(c, command('c2'), 3);
  assert.equal(pending.olderThan(1, 10), []);
  assert.equal(pending.olderThan(3, 10), [a, b]);
  assert.equal(pending.olderThan(9, 2), [a, b]);
  assert.is(pending.size, 3);
});

test.run();
