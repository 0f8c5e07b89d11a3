/** Secret commands on the wire, held against the vectors with both implementations of the primitives. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { nodeCrypto } from '../../device/index.ts';
import { webCrypto } from '../../device/platform/crypto-web.ts';
import {
  decodeArgs,
  decodeResultBody,
  decodeTravelledBody,
  decryptSecret,
  type Encrypted,
  encodeArgs,
  encodeResultBody,
  encodeSealedBody,
  encryptSecret,
  LIMITS,
  ProtocolError,
  SECRET_KEY_BYTES,
  sealedArgsBytes,
  sealedKeyBytes,
  sealedResultBytes,
  WRAP_KEY_BYTES,
} from '../../protocol/index.ts';
import { fromHex, toHex, toView, vectors } from './vectors-file.ts';

const platforms = { node: nodeCrypto, web: webCrypto };
const ascii = (text: string) => Buffer.from(text, 'latin1').toString('hex');

test('X-2: the wrap key and the secret key are codes of their names by the device secret', async () => {
  const { secret, wrap, device } = vectors.secretKeys;
  for (const { mac } of Object.values(platforms)) {
    assert.is(toHex(await mac(fromHex(secret), WRAP_KEY_BYTES)), wrap);
    assert.is(toHex(await mac(fromHex(secret), SECRET_KEY_BYTES)), device);
  }
  assert.is(toHex(WRAP_KEY_BYTES), ascii('wrap'));
  assert.is(toHex(SECRET_KEY_BYTES), ascii('secret'));
});

test('X-1, X-3, X-6, X-8: sealed vectors open, and their associated data is spelled out', async () => {
  const [forDevice, forGroup, key, result] = vectors.sealed;
  assert.ok(forDevice && forGroup && key && result);
  const head = 'pushpoint.v1 sealed';
  assert.is(forDevice.associatedData, ascii(`${head} args\0cmd-0007\0device\0dev-7Q2m`));
  assert.is(forGroup.associatedData, ascii(`${head} args\0cmd-0007\0group\0berlin\x001\x002`));
  assert.is(key.associatedData, ascii(`${head} key\0dev-7Q2m\0berlin\x001\x002`));
  assert.is(result.associatedData, ascii(`${head} result\0dev-7Q2m\0cmd-0007`));
  for (const { name, key, nonce, ct, associatedData, plain } of vectors.sealed) {
    for (const [platform, crypto] of Object.entries(platforms)) {
      const sealed = { nonce: fromHex(nonce), ct: fromHex(ct) };
      const opened = await decryptSecret(crypto, fromHex(key), sealed, fromHex(associatedData));
      assert.is(opened && toHex(opened), plain, `${name} (${platform})`);
    }
  }
  assert.equal(toView(decodeArgs(fromHex(forDevice.plain))), forDevice.means);
  assert.equal(toView(decodeArgs(fromHex(forGroup.plain))), forGroup.means);
  assert.equal(toView(decodeResultBody(fromHex(result.plain))), result.means);
});

test('X-1: both platforms seal with a new nonce each time, and open what the other sealed', async () => {
  const key = new Uint8Array(32).fill(1);
  const plain = new TextEncoder().encode('a secret');
  const about = sealedResultBytes('d1', 'c1');
  const nonces = new Set<string>();
  for (const sealing of Object.values(platforms)) {
    for (const opening of Object.values(platforms)) {
      const sealed = await encryptSecret(sealing, key, plain, about);
      nonces.add(toHex(sealed.nonce));
      assert.is(sealed.nonce.length, LIMITS.sealNonceBytes);
      assert.is(sealed.ct.length, plain.length + LIMITS.sealTagBytes);
      assert.equal(await decryptSecret(opening, key, sealed, about), plain);
    }
  }
  assert.is(nonces.size, 4);
});

test('X-1, X-4: nothing opens with another key, for something else, changed, or cut', async () => {
  const key = new Uint8Array(32).fill(1);
  const name = { group: 'g1', epoch: 1, number: 2 };
  const about = sealedArgsBytes('c1', name);
  const others = [
    sealedArgsBytes('c2', name),
    sealedArgsBytes('c1', { ...name, group: 'g2' }),
    sealedArgsBytes('c1', { ...name, epoch: 2 }),
    sealedArgsBytes('c1', { ...name, number: 3 }),
    // The zero byte keeps "1" + "2" apart from "12" + "".
    sealedArgsBytes('c1', { ...name, epoch: 12, number: 2 }),
    sealedArgsBytes('c1', { device: 'g1' }),
    sealedKeyBytes('c1', name),
    sealedResultBytes('c1', 'g1'),
  ];
  for (const crypto of Object.values(platforms)) {
    const open = (by: Uint8Array, what: Encrypted, of: Uint8Array) => decryptSecret(crypto, by, what, of);
    const sealed = await encryptSecret(crypto, key, new Uint8Array(9), about);
    assert.ok(await open(key, sealed, about));
    for (const other of others) assert.is(await open(key, sealed, other), null);
    assert.is(await open(new Uint8Array(32), sealed, about), null);
    assert.is(await open(key, { ...sealed, nonce: new Uint8Array(12) }, about), null);
    for (let at = 0; at < sealed.ct.length; at++) {
      const ct = sealed.ct.map((byte, i) => (i === at ? byte ^ 1 : byte));
      assert.is(await open(key, { ...sealed, ct }, about), null);
    }
    for (const end of [0, 15, 16, sealed.ct.length - 1]) {
      assert.is(await open(key, { ...sealed, ct: sealed.ct.subarray(0, end) }, about), null);
    }
  }
});

test('X-3, X-8: the longest arguments and the longest end still travel when they are sealed', () => {
  // `da` and two bytes of length come before the text.
  assert.is(encodeArgs('a'.repeat(LIMITS.argsBytes - 3)).length, LIMITS.argsBytes);
  assert.throws(
    () => encodeArgs('a'.repeat(LIMITS.argsBytes - 2)),
    (error: Error) => error instanceof ProtocolError,
  );
  const ct = new Uint8Array(LIMITS.secretResultBytes + LIMITS.sealTagBytes);
  const body = encodeSealedBody({ nonce: new Uint8Array(12), ct });
  assert.ok(body.length <= LIMITS.resultBytes);
  assert.equal(decodeTravelledBody(body), { nonce: new Uint8Array(12), ct });
});

test('X-5, X-8: a body that is not sealed is read in the clear', () => {
  const end = { state: 'rejected', reason: 'busy' } as const;
  assert.equal(decodeTravelledBody(encodeResultBody(end)), end);
});

test.run();
