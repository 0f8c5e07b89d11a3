import { generateKeyPairSync, randomBytes, verify } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createSigner, opensslSigner, sodiumSigner } from '../../admin-api/order-signature.ts';

const { publicKey, privateKey } = generateKeyPairSync('ed25519');

test('S-2: libsodium and OpenSSL sign alike, and the signature verifies', () => {
  const signers = [createSigner(privateKey), opensslSigner(privateKey), sodiumSigner(privateKey)];
  for (const length of [0, 1, 31, 64, 250, 40_000]) {
    const message = randomBytes(length);
    const expected = opensslSigner(privateKey)(message);
    assert.ok(verify(null, message, publicKey, expected));
    for (const signer of signers)
      if (signer) assert.equal(Buffer.from(signer(message)), Buffer.from(expected));
  }
});

test('a signature does not change when the next one is made', () => {
  const signer = createSigner(privateKey);
  const first = signer(Buffer.from('one'));
  const copy = Buffer.from(first);
  signer(Buffer.from('two'));
  assert.equal(Buffer.from(first), copy);
});

test.run();
