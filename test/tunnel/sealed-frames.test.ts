import { webcrypto } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { nodeCrypto } from '../../device/index.ts';
import { webCrypto } from '../../device/platform/crypto-web.ts';
import { nodeFrameCipher } from '../../device/platform/frame-cipher-node.ts';
import { webFrameCipher } from '../../device/platform/frame-cipher-web.ts';
import { SEAL_KEY_BYTES, sealCounter, sealedTunnelBytes, TUNNEL_LIMITS } from '../../protocol/index.ts';
import type { FrameCipher, MakeFrameCipher } from '../../tunnel/index.ts';
import { SealedFrames } from '../../tunnel/sealed-frames.ts';
import { fromHex, toHex, vectors } from '../protocol/vectors-file.ts';
import { waitFor } from '../wait.ts';
import { pattern } from './pair.ts';

// Node.js 20 has it in all programs.
assert.ok(webcrypto.subtle);
const platforms: [name: string, make: MakeFrameCipher][] = [
  ['node', nodeFrameCipher],
  ['web', webFrameCipher],
];
const KEY = fromHex(vectors.tunnelKey.key);

interface End {
  frames: SealedFrames;
  sent: Uint8Array[];
  received: Buffer[];
  forged: string[];
}

function makeEnd(cipher: FrameCipher): End {
  const end = { sent: [], received: [], forged: [] } as unknown as End;
  end.frames = new SealedFrames(cipher, {
    send: (message) => end.sent.push(Buffer.concat(message)),
    receive: (frame) => end.received.push(Buffer.from(frame)),
    forged: (why) => end.forged.push(why),
  });
  return end;
}

async function ends(make: MakeFrameCipher, key = KEY): Promise<{ operator: End; device: End }> {
  return { operator: makeEnd(await make(key, 'operator')), device: makeEnd(await make(key, 'device')) };
}

/** Everything that was to be sent is. */
const allSent = ({ frames }: End) => new Promise<void>((resolve) => frames.afterSent(resolve));

/** So many messages were taken, or refused. */
const judged = ({ received, forged }: End, count: number, what: string) =>
  waitFor(() => received.length + forged.length >= count, { what, intervalMs: 1 });

test('T-14, T-15: vectors: keys, sealed frames, and messages that end a tunnel', async () => {
  const { wrap, device, tunnel, wrapped, ...expected } = vectors.tunnelKey;
  const associated = sealedTunnelBytes(device, tunnel);
  assert.is(toHex(associated), expected.associatedData);
  const bytes = Buffer.from(wrapped, 'base64url');
  for (const crypto of [nodeCrypto, webCrypto]) {
    const key = await crypto.decrypt(fromHex(wrap), bytes.subarray(0, 12), associated, bytes.subarray(12));
    assert.is(toHex(key), expected.key);
    assert.is(toHex(await crypto.mac(key, SEAL_KEY_BYTES.operator)), expected.operatorKey);
    assert.is(toHex(await crypto.mac(key, SEAL_KEY_BYTES.device)), expected.deviceKey);
  }
  for (const [name, make] of platforms) {
    const ciphers = { operator: await make(KEY, 'operator'), device: await make(KEY, 'device') };
    for (const { by, counter, frame, message, ...vector } of vectors.sealedTunnelFrames) {
      assert.is(sealCounter(fromHex(message)), counter);
      const sealed = Buffer.concat(await ciphers[by].seal(counter, fromHex(frame)));
      assert.is(toHex(sealed), message, `${name}: ${vector.name}`);
      const other = by === 'device' ? 'operator' : 'device';
      assert.is(toHex((await ciphers[other].open(counter, fromHex(message))) ?? new Uint8Array()), frame);
    }
    for (const vector of vectors.refusedSealedFrames) {
      const { operator, device: end } = await ends(make);
      for (let n = 0; n < vector.heard; n++) operator.frames.send(Buffer.from('before'));
      await allSent(operator);
      for (const message of operator.sent.slice(-1)) end.frames.receive(message);
      end.frames.receive(fromHex(vector.message));
      await judged(end, Math.min(1, vector.heard) + 1, vector.name);
      assert.is(end.received.length, Math.min(1, vector.heard), vector.name);
      assert.is(end.forged.length, 1, `${name}: ${vector.name}`);
    }
  }
});

test('T-14: both platforms open what either sealed, whatever its length', async () => {
  for (const [one, make] of platforms) {
    for (const [other, makeOther] of platforms) {
      const operator = makeEnd(await make(KEY, 'operator'));
      const device = makeEnd(await makeOther(KEY, 'device'));
      const lengths = [0, 1, 15, 16, 17, 16_383, 16_384, 16_385, 65_549, TUNNEL_LIMITS.frameBytes];
      for (const length of lengths) operator.frames.send(pattern(length));
      await allSent(operator);
      assert.is(operator.sent.at(-1)?.length, TUNNEL_LIMITS.messageBytes);
      for (const message of operator.sent) device.frames.receive(message);
      await judged(device, lengths.length, 'all frames');
      assert.equal(device.forged, []);
      for (const [n, length] of lengths.entries()) {
        assert.ok(device.received[n]?.equals(pattern(length)), `${one} to ${other}: ${length}`);
      }
    }
  }
});

test('T-14: frames keep their order when the cipher gives them later, and out of turn', async () => {
  const inner = nodeFrameCipher(KEY, 'operator');
  const theirs = nodeFrameCipher(KEY, 'device');
  // Every third comes at once, others after a while, the later the sooner.
  const slow = <T>(counter: number, value: T) =>
    counter % 3 === 0 ? value : new Promise<T>((resolve) => setTimeout(resolve, 30 - counter, value));
  const operator = makeEnd({
    seal: (counter, frame) => slow(counter, inner.seal(counter, frame) as Uint8Array[]),
    open: () => null,
  });
  const device = makeEnd({
    seal: () => [],
    open: (counter, message) => {
      const frame = theirs.open(counter, message) as Uint8Array | null;
      return slow(counter, frame && Uint8Array.from(frame));
    },
  });
  for (let n = 0; n < 20; n++) operator.frames.send(Uint8Array.of(n));
  let left = false;
  operator.frames.afterSent(() => {
    left = true;
  });
  assert.is(left, false);
  await allSent(operator);
  assert.is(left, true);
  assert.equal(
    operator.sent.map(sealCounter),
    Array.from({ length: 20 }, (_, n) => n + 1),
  );
  for (const message of operator.sent) device.frames.receive(message);
  device.frames.receive(operator.sent[0] as Uint8Array);
  await judged(device, 21, 'all frames');
  // What came before the repeated one is handed on, and nothing after it.
  assert.equal(
    device.received.map((frame) => frame[0]),
    Array.from({ length: 20 }, (_, n) => n),
  );
  assert.equal(device.forged, ['a frame that came before, or too late']);
});

test('T-14: lost frames leave no trace; repeated, late, changed or foreign ones end it', async () => {
  const sealedBy = async (make: MakeFrameCipher, side: 'operator' | 'device', key = KEY) => {
    const both = await ends(make, key);
    for (let n = 0; n < 5; n++) both[side].frames.send(pattern(50, n));
    await allSent(both[side]);
    return both[side].sent as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  };
  const bits = (message: Uint8Array) =>
    Array.from({ length: message.length }, (_, at) => {
      const other = Uint8Array.from(message);
      other[at] = (other[at] as number) ^ (1 << (at % 8));
      return other;
    });
  for (const [name, make] of platforms) {
    const good = await sealedBy(make, 'operator');
    const foreign = await sealedBy(make, 'operator', new Uint8Array(32));
    const reflected = await sealedBy(make, 'device');
    const cases: [what: string, messages: Uint8Array[], taken: number, isForged: boolean][] = [
      ['lost', [good[0], good[2], good[4]], 3, false],
      ['repeated', [good[0], good[1], good[1], good[2]], 2, true],
      ['late', [good[0], good[2], good[1]], 2, true],
      ['from another tunnel', [good[0], foreign[1]], 1, true],
      ['from the other direction', [good[0], reflected[1]], 1, true],
      ['longer', [Buffer.concat([good[0], Buffer.alloc(1)])], 0, true],
      ...Array.from({ length: good[0].length }, (_, n): [string, Uint8Array[], number, boolean] => [
        `${n} bytes of it`,
        [good[0].subarray(0, n)],
        0,
        true,
      ]),
      ...bits(good[0]).map((message, at): [string, Uint8Array[], number, boolean] => [
        `bit ${at}`,
        [message, good[1]],
        0,
        true,
      ]),
    ];
    for (const [what, messages, taken, isForged] of cases) {
      const { device } = await ends(make);
      for (const message of messages) device.frames.receive(message);
      await judged(device, taken + Number(isForged), what);
      assert.is(device.received.length, taken, `${name}: ${what}`);
      assert.is(device.forged.length, Number(isForged), `${name}: ${what}`);
    }
  }
});

test('T-15: what an earlier key sealed is neither sent nor taken once there is another', async () => {
  for (const [name, make] of platforms) {
    const { operator, device } = await ends(make);
    operator.frames.send(pattern(10));
    await allSent(operator);
    const key = new Uint8Array(32).fill(1);
    // On the web both are still under way.
    operator.frames.send(pattern(10, 1));
    device.frames.receive(operator.sent[0] as Uint8Array);
    const before = { sent: operator.sent.length, received: device.received.length };
    operator.frames.rekey(await make(key, 'operator'));
    device.frames.rekey(await make(key, 'device'));
    await allSent(operator);
    if (name === 'web') assert.equal(before, { sent: 1, received: 0 });
    operator.frames.send(pattern(10, 2));
    await allSent(operator);
    const taken = device.received.length;
    device.frames.receive(operator.sent.at(-1) as Uint8Array);
    await judged(device, taken + 1, name);
    assert.equal(device.forged, []);
    assert.ok(device.received.at(-1)?.equals(pattern(10, 2)));
    assert.is(sealCounter(operator.sent.at(-1) as Uint8Array), 1);
  }
});

test('T-15: with another key, counters begin again', async () => {
  const { operator, device } = await ends(nodeFrameCipher);
  operator.frames.send(pattern(10));
  device.frames.receive(operator.sent[0] as Uint8Array);
  const key = new Uint8Array(32).fill(1);
  operator.frames.rekey(nodeFrameCipher(key, 'operator'));
  operator.frames.send(pattern(10, 1));
  const restarted = makeEnd(nodeFrameCipher(key, 'device'));
  restarted.frames.receive(operator.sent[1] as Uint8Array);
  assert.equal([sealCounter(operator.sent[1] as Uint8Array), restarted.received.length], [1, 1]);
  device.frames.receive(operator.sent[1] as Uint8Array);
  assert.is(device.forged.length, 1);
});

test.run();
