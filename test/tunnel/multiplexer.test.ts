import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  decodeTunnelFrame,
  encodeCredit,
  encodeFin,
  encodeHello,
  encodeOpen,
  encodeOpened,
  encodeReceived,
  TUNNEL_LIMITS,
  writeDataHeader,
} from '../../protocol/index.ts';
import { TooManyStreams } from '../../tunnel/index.ts';
import { all, Pair, pattern } from './pair.ts';

function data(stream: number, offset: number, bytes: Uint8Array): Uint8Array {
  const frame = new Uint8Array(13 + bytes.length);
  writeDataHeader(frame, stream, offset);
  frame.set(bytes, 13);
  return frame;
}

test('T-8: bytes written before the ends are joined, and before OPENED, arrive once they are', () => {
  const pair = new Pair();
  const stream = pair.open();
  stream.stream.write(Buffer.from('early '));
  assert.equal(pair.toDevice, []);
  pair.pair();
  stream.stream.write(Buffer.from('late'));
  pair.flush();
  assert.is(all(pair.served[0]).toString(), 'early late');
  assert.is(stream.opened, 1);
  assert.equal(pair.faults, []);
});

test('T-10: each direction has its own end, and a stream is over after both', () => {
  const pair = new Pair();
  pair.pair();
  const stream = pair.open();
  stream.stream.write(Buffer.from('question'));
  stream.stream.end();
  pair.flush();
  const served = pair.served[0];
  assert.is(served?.ended, 1);
  assert.is(stream.ended, 0);
  assert.equal(stream.closed, []);
  served?.stream.write(Buffer.from('answer'));
  served?.stream.end();
  pair.flush();
  assert.is(all(stream).toString(), 'answer');
  assert.equal([stream.closed, served?.closed], [[undefined], [undefined]]);
  assert.equal([pair.operator.streams, pair.device.streams], [0, 0]);
  assert.is(stream.stream.write(Buffer.from('more')), false);
});

test('T-9: a stream sends no more than its window until it is consumed, and says when to go on', () => {
  const pair = new Pair();
  pair.hold = true;
  pair.pair();
  const stream = pair.open();
  const bytes = pattern(1024 * 1024);
  assert.is(stream.stream.write(bytes), false);
  pair.flush();
  const served = pair.served[0];
  assert.is(served?.held, TUNNEL_LIMITS.streamWindow);
  assert.is(stream.writable, 0);
  for (let rounds = 0; rounds < 100 && all(served).length < bytes.length; rounds++) {
    const { held } = served ?? { held: 0 };
    assert.ok(held <= TUNNEL_LIMITS.streamWindow);
    if (served) served.held = 0;
    served?.stream.consumed(held);
    pair.flush();
  }
  assert.ok(all(served).equals(bytes));
  assert.is(stream.writable, 1);
});

test('T-9: all streams together have no more on the way than the tunnel may, and take turns', () => {
  const pair = new Pair();
  pair.pair();
  const streams = Array.from({ length: 8 }, () => pair.open());
  pair.flush();
  for (const { stream } of streams) stream.write(pattern(TUNNEL_LIMITS.streamWindow));
  const sent = pair.toDevice.filter((frame) => decodeTunnelFrame(frame).type === 'data');
  const bytes = sent.reduce((sum, frame) => sum + frame.length, 0);
  assert.ok(
    bytes <= TUNNEL_LIMITS.tunnelWindow && bytes > TUNNEL_LIMITS.tunnelWindow - 70_000,
    String(bytes),
  );
  pair.flush();
  for (const [index, served] of pair.served.entries()) {
    assert.is(all(served).length, TUNNEL_LIMITS.streamWindow, `stream ${index + 1}`);
  }
});

test('T-9: one stream whose reader stands still holds up no other', () => {
  const pair = new Pair();
  pair.hold = true;
  pair.pair();
  const stuck = pair.open();
  stuck.stream.write(pattern(2 * TUNNEL_LIMITS.streamWindow));
  pair.flush();
  pair.hold = false;
  const quick = pair.open();
  const bytes = pattern(4 * 1024 * 1024, 3);
  quick.stream.write(bytes);
  pair.flush();
  assert.ok(all(pair.served[1]).equals(bytes));
  assert.is(all(pair.served[0]).length, TUNNEL_LIMITS.streamWindow);
});

test('T-7: whatever is lost on the way, in either direction, every byte arrives once and in order', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const pair = new Pair();
    let state = seed;
    const random = (below: number) => {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((state / 2_147_483_648) * below);
    };
    const streams = Array.from({ length: 3 }, () => pair.open());
    const sent = streams.map(() => [[] as Buffer[], [] as Buffer[]] as const);
    for (let step = 0; step < 60; step++) {
      const which = random(3);
      const [down, up] = sent[which] ?? [[], []];
      const served = pair.served[which];
      const bytes = pattern(1 + random(100_000), step);
      const action = random(10);
      if (action < 4) {
        streams[which]?.stream.write(bytes);
        down.push(bytes);
      } else if (action < 7 && served) {
        served.stream.write(bytes);
        up.push(bytes);
      } else if (action === 7) {
        pair.pair();
      } else if (action === 8) {
        pair.pair({ late: true });
      } else {
        pair.flush(random(6));
      }
    }
    for (const { stream } of streams) stream.end();
    pair.pair();
    for (const { stream } of pair.served) stream.end();
    pair.flush(random(8));
    pair.pair();
    assert.equal(pair.faults, [], `seed ${seed}`);
    for (const [index, stream] of streams.entries()) {
      const [down, up] = sent[index] ?? [[], []];
      assert.ok(all(pair.served[index]).equals(Buffer.concat(down)), `down ${index} of seed ${seed}`);
      assert.ok(all(stream).equals(Buffer.concat(up)), `up ${index} of seed ${seed}`);
      assert.equal(stream.closed, [undefined], `seed ${seed}`);
      assert.equal(pair.served[index]?.closed, [undefined], `seed ${seed}`);
    }
  }
});

test('T-7: frames of an earlier pair are not taken for those of the new one', () => {
  const pair = new Pair();
  pair.pair();
  const stream = pair.open();
  stream.stream.write(Buffer.from('lost '));
  const stale = pair.toDevice;
  pair.lose();
  pair.operator.unpaired();
  pair.device.unpaired();
  pair.operator.paired(2);
  pair.device.paired(2);
  for (const frame of [...stale, encodeHello({ pair: 1, window: 100_000, highest: 9, streams: [] })]) {
    pair.device.receive(frame);
  }
  assert.is(pair.device.ready, false);
  pair.flush();
  stream.stream.write(Buffer.from('not lost'));
  pair.flush();
  assert.is(all(pair.served[0]).toString(), 'lost not lost');
  assert.equal(pair.faults, []);
});

test('T-7, T-11: a stream that one end has given up is over at the other, even if its RESET was lost', () => {
  const pair = new Pair();
  pair.pair();
  const [first, second] = [pair.open(1), pair.open(2)];
  pair.flush();
  first.stream.reset('aborted', 'enough');
  pair.served[1]?.stream.reset('aborted', 'enough here');
  pair.pair();
  assert.is(pair.served[0]?.closed[0]?.reason, 'enough');
  assert.is(second.closed[0]?.reason, 'enough here');
  assert.equal([first.closed[0]?.remote, second.closed[0]?.remote], [false, true]);
  assert.equal([pair.operator.streams, pair.device.streams], [0, 0]);
  // One that was never heard of at the other end is not missed there.
  const third = pair.open(3);
  pair.lose();
  third.stream.reset('aborted', 'at once');
  pair.pair();
  assert.equal(pair.faults, []);
  assert.is(pair.served.length, 2);
});

test('T-8, T-11: a stream too many is refused at both ends', () => {
  const pair = new Pair();
  pair.pair();
  for (let count = 0; count < TUNNEL_LIMITS.streams; count++) pair.open();
  assert.throws(
    () => pair.open(),
    (error: unknown) => error instanceof TooManyStreams,
  );
  pair.flush();
  pair.device.receive(encodeOpen(1_000, '127.0.0.1', 22));
  const answer = decodeTunnelFrame(pair.toOperator[0] ?? new Uint8Array());
  assert.is(answer.type === 'reset' && answer.code, 'too-many');
  assert.is(pair.device.streams, TUNNEL_LIMITS.streams);
});

test('T-6, T-7, T-8, T-9, T-10: an end that breaks a rule is found out, and nothing is taken from it', () => {
  const full = new Uint8Array(TUNNEL_LIMITS.dataBytes);
  const wrong: [string, Uint8Array[]][] = [
    ['T-6', [Uint8Array.of(9, 0, 0, 0, 1)]],
    ['T-6', [new Uint8Array(3)]],
    ['T-7', [encodeHello({ pair: 1, window: 262_144, highest: 0, streams: [] })]],
    ['T-8', [data(7, 0, Uint8Array.of(1))]],
    ['T-8', [data(1, 5, Uint8Array.of(1))]],
    ['T-8', [encodeOpened(1)]],
    ['T-9', Array.from({ length: 9 }, (_, index) => data(1, index * full.length, full))],
    ['T-9', [encodeCredit(1, 1_000_000)]],
    ['T-9', [encodeReceived(1)]],
    ['T-10', [encodeFin(1, 5)]],
    ['T-10', [encodeFin(1, 0), data(1, 0, Uint8Array.of(1))]],
  ];
  for (const [rule, frames] of wrong) {
    const pair = new Pair();
    pair.hold = true;
    pair.pair();
    pair.open();
    pair.flush();
    for (const frame of frames) pair.device.receive(frame);
    assert.is(pair.faults.length, 1, `${rule}: ${pair.faults}`);
    assert.match(pair.faults[0] ?? '', `device ${rule}`);
  }
  const pair = new Pair();
  pair.pair();
  pair.operator.receive(encodeOpen(1, '127.0.0.1', 22));
  assert.match(pair.faults[0] ?? '', 'operator T-8');
});

test('T-6: no garbage does more than end the tunnel', () => {
  let state = 7;
  const random = (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
  for (let round = 0; round < 1_500; round++) {
    const pair = new Pair();
    pair.pair();
    const stream = pair.open();
    stream.stream.write(Buffer.from('abc'));
    const waiting = pair.toDevice.map((frame) => Uint8Array.from(frame));
    pair.flush();
    const frame = Uint8Array.from({ length: random(60) }, () => random(256));
    if (frame.length > 5) {
      frame[0] = 1 + random(9);
      if (random(3) > 0) frame.set([0, 0, 0, random(3)], 1);
    }
    const spoiled = waiting[random(waiting.length)];
    if (spoiled && random(2) === 0) spoiled[random(spoiled.length)] = random(256);
    for (const bytes of [frame, spoiled ?? frame]) {
      pair.device.receive(bytes);
      pair.operator.receive(bytes);
    }
    pair.flush(50);
  }
});

test.run();
