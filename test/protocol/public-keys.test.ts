import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { nodeCrypto } from '../../device/index.ts';
import { isStrictEd25519, isStrictX25519 } from '../../protocol/index.ts';
import { littleEndian, NOT_CANONICAL, SMALL_ORDER_ED25519, SMALL_ORDER_X25519 } from './small-order.ts';

test('E-8: keys that are made are taken', async () => {
  for (let n = 0; n < 20; n++) {
    assert.ok(isStrictEd25519((await nodeCrypto.generate()).publicKey));
    assert.ok(isStrictX25519((await nodeCrypto.generateX25519()).publicKey));
  }
  // The base points.
  assert.ok(isStrictX25519(littleEndian(9n)));
  assert.ok(isStrictEd25519(Uint8Array.from([0x58, ...new Array(31).fill(0x66)])));
});

test('E-8: keys of small order are refused', () => {
  assert.is(SMALL_ORDER_ED25519.length, 10);
  assert.is(SMALL_ORDER_X25519.length, 5);
  for (const key of SMALL_ORDER_ED25519) assert.not(isStrictEd25519(key));
  for (const key of SMALL_ORDER_X25519) assert.not(isStrictX25519(key));
});

test('E-8: keys that are not canonical are refused', () => {
  for (const key of NOT_CANONICAL) {
    assert.not(isStrictEd25519(key));
    assert.not(isStrictX25519(key));
  }
  // X25519 ignores bit 255: a second name of the same key.
  assert.not(isStrictX25519(littleEndian(9n | (1n << 255n))));
  for (const length of [0, 31, 33]) {
    assert.not(isStrictEd25519(new Uint8Array(length).fill(5)));
    assert.not(isStrictX25519(new Uint8Array(length).fill(5)));
  }
});

test('E-8: a signature by a key of small order is good for any bytes', async () => {
  // R and A are the identity, S is 0.
  const identity = littleEndian(1n);
  const signature = Uint8Array.from([...identity, ...new Uint8Array(32)]);
  assert.ok(await nodeCrypto.verify(identity, new Uint8Array([1, 2, 3]), signature));
  assert.not(isStrictEd25519(identity));
});

test.run();
