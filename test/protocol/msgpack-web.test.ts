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
