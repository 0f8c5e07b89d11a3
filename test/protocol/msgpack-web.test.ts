/** The MessagePack of browsers and that of Node read each other's frames, and mean the same. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as node from '../../protocol/msgpack.ts';
import * as web from '../../protocol/msgpack-web.ts';
import { fromHex, vectors } from './vectors-file.ts';

const frames = [
  ...vectors.written,
  ...vectors.alsoRead,
  ...vectors.walkthroughs.flatMap((each) => each.frames),
]
  .map(({ hex }) => fromHex(hex))
  .concat(vectors.orders.map(({ body }) => fromHex(body)));

/** Node's binary is a Buffer here and there; only the bytes count. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('hex')}`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

test('both read every vector the same', () => {
  assert.ok(frames.length > 50);
  for (const frame of frames) assert.equal(plain(web.unpack(frame)), plain(node.unpack(frame)));
});

test('what one writes the other reads', () => {
  for (const frame of frames) {
    const value = node.unpack(frame);
    assert.equal(plain(node.unpack(web.pack(value))), plain(value));
    assert.equal(plain(web.unpack(node.pack(value))), plain(value));
  }
  const odd = { gone: undefined, none: null, time: 1.7e12, far: 2 ** 53 - 1, low: -(2 ** 53 - 1), half: 0.5 };
  const read = { ...odd, gone: null };
  assert.equal(node.unpack(web.pack(odd)), read);
  assert.equal(web.unpack(node.pack(odd)), read);
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
    assert.equal(plain(node.unpack(written)), plain(value === 0 ? 0 : value));
    assert.equal(plain(web.unpack(written)), plain(value === 0 ? 0 : value));
    assert.ok(written.length <= node.pack(value).length, String(value).slice(0, 40));
  }
});

test('what no frame holds is neither written nor read', () => {
  for (const value of [1n, () => 1, Symbol('s'), { deep: [1n] }]) assert.throws(() => web.pack(value));
  const proto = [0x81, 0xa9, ...new TextEncoder().encode('__proto__'), 0x80];
  for (const bytes of [[0xc1], [0xd4, 1, 1], [0xc7, 0, 1], [0x81, 1, 1], proto]) {
    assert.throws(() => web.unpack(new Uint8Array(bytes)));
  }
});

test('neither takes less or more than one value', () => {
  for (const frame of frames) {
    const longer = new Uint8Array([...frame, 0xc0]);
    for (const unpack of [node.unpack, web.unpack]) {
      assert.throws(() => unpack(frame.subarray(0, -1)));
      assert.throws(() => unpack(longer));
    }
  }
});

test.run();
