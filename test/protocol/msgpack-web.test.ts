/** The MessagePack of browsers and that of Node read each other's frames, and mean the same. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ProtocolError } from '../../protocol/frame-scan.ts';
import * as node from '../../protocol/msgpack.ts';
import * as web from '../../protocol/msgpack-web.ts';
import { seeded } from '../seeded.ts';
import { fromHex, toHex, vectors } from './vectors-file.ts';

const frames = [
  ...vectors.written,
  ...vectors.alsoRead,
  ...vectors.walkthroughs.flatMap((each) => each.frames),
]
  .map(({ hex }) => fromHex(hex))
  .concat(vectors.orders.map(({ body }) => fromHex(body)));

const readNode = (bytes: Uint8Array) => node.unpack(bytes, 17);
const readWeb = (bytes: Uint8Array) => web.unpack(bytes, 17);

/** Node's binary is a Buffer here and there; only the bytes count. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('hex')}`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

test('both read every vector the same', () => {
  assert.ok(frames.length > 50);
  for (const frame of frames) assert.equal(plain(readWeb(frame)), plain(readNode(frame)));
});

test('what one writes the other reads', () => {
  for (const frame of frames) {
    const value = readNode(frame);
    assert.equal(plain(readNode(web.pack(value))), plain(value));
    assert.equal(plain(readWeb(node.pack(value))), plain(value));
  }
  const odd = { gone: undefined, none: null, time: 1.7e12, far: 2 ** 53 - 1, low: -(2 ** 53 - 1), half: 0.5 };
  const read = { ...odd, gone: null };
  assert.equal(readNode(web.pack(odd)), read);
  assert.equal(readWeb(node.pack(odd)), read);
});

test('the edges of every size are written in the shortest form and read by both', () => {
  const numbers = [7, 8, 15, 16, 31, 32, 53].flatMap((bits) =>
    [-1, 0, 1].flatMap((off) => [2 ** bits + off, -(2 ** bits) + off]),
  );
  const lengths = [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536];
  const values = [
    ...[0, -0, -32, -33, 0.1, -1.5, 1e300, Number.MIN_VALUE].concat(numbers.filter(Number.isSafeInteger)),
    ...lengths.map((length) => 'é'.repeat(length >> 1) + 'x'.repeat(length & 1)),
    ...lengths.map((length) => new Uint8Array(length).fill(7)),
    ...lengths.map((length) => new Array(length).fill(true)),
    ...lengths.map((length) => Object.fromEntries(Array.from({ length }, (_, index) => [`k${index}`, null]))),
    ...['\u{FEFF}mark', '\u{1F600}', '', { '': { a: [[{}]] } }],
  ];
  for (const value of values) {
    const written = web.pack(value);
    assert.equal(plain(readNode(written)), plain(value === 0 ? 0 : value));
    assert.equal(plain(readWeb(written)), plain(value === 0 ? 0 : value));
    assert.ok(written.length <= node.pack(value).length, String(value).slice(0, 40));
  }
});

test('what no frame holds is neither written nor read', () => {
  for (const value of [1n, () => 1, Symbol('s'), { deep: [1n] }]) assert.throws(() => web.pack(value));
  for (const bytes of [[0xc1], [0xd4, 1, 1], [0xc7, 0, 1], [0x81, 1, 1]]) {
    assert.throws(() => readWeb(new Uint8Array(bytes)));
  }
  const proto = [0x81, 0xa9, ...new TextEncoder().encode('__proto__'), 0x80];
  assert.equal(readWeb(new Uint8Array(proto)), {});
});

test('F-2, F-4, F-5, F-6: both refuse the same frames, with the same rule', () => {
  const rule = (read: (bytes: Uint8Array) => unknown, bytes: Uint8Array) => {
    try {
      return void read(bytes);
    } catch (error) {
      assert.instance(error, ProtocolError);
      return (error as ProtocolError).rule;
    }
  };
  const random = seeded(7);
  const mutated = frames.flatMap((frame) =>
    Array.from({ length: 200 }, () => {
      const bytes = frame.slice();
      bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      return bytes;
    }),
  );
  const refused = vectors.refused.map(({ hex }) => fromHex(hex));
  let broken = 0;
  for (const bytes of [...refused, ...mutated]) {
    const expected = rule(readNode, bytes);
    assert.is(rule(readWeb, bytes) === undefined, expected === undefined, toHex(bytes));
    if (expected === undefined) assert.equal(plain(readWeb(bytes)), plain(readNode(bytes)));
    else broken++;
  }
  for (const bytes of refused) assert.is(rule(readWeb, bytes), rule(readNode, bytes), toHex(bytes));
  assert.ok(broken > 1_000);
});

test('neither takes less or more than one value', () => {
  for (const frame of frames) {
    const longer = new Uint8Array([...frame, 0xc0]);
    for (const unpack of [readNode, readWeb]) {
      assert.throws(() => unpack(frame.subarray(0, -1)));
      assert.throws(() => unpack(longer));
    }
  }
});

test.run();
