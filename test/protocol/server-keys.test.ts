/** PROTOCOL.md, section "Server keys", by the vectors. */
import { createHash, createPublicKey, verify as verifySignature } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  decodeServerKeys,
  encodeServerKeys,
  isSignedBy,
  openServerKeys,
  ProtocolError,
  type ServerKeys,
  type SignedServerKeys,
  serverKeysBytes,
  succeedServerKeys,
  type VerifySignature,
} from '../../protocol/index.ts';
import { fromHex, fromView, toHex, toView, vectors } from './vectors-file.ts';

const verify: VerifySignature = (publicKey, bytes, sig) => {
  const x = Buffer.from(publicKey).toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  return verifySignature(null, bytes, key, sig);
};

function signedOf({ body, sig, previousSig }: (typeof vectors.serverKeys)[number]): SignedServerKeys {
  return {
    body: fromHex(body),
    sig: fromHex(sig),
    ...(previousSig !== undefined && { previousSig: fromHex(previousSig) }),
  };
}

function named(name: string) {
  const found = vectors.serverKeys.find((one) => one.name === name);
  assert.ok(found, name);
  return found;
}

test('K-1: the documents of the vectors are encoded and decoded as they are written', () => {
  for (const { name, keys, body, signedBytes } of vectors.serverKeys) {
    assert.equal(toView(decodeServerKeys(fromHex(body))), keys, name);
    assert.is(toHex(encodeServerKeys(fromView(keys) as ServerKeys)), body, name);
    assert.is(toHex(serverKeysBytes(fromHex(body))), signedBytes, name);
  }
});

test('K-1: a body that breaks a rule is refused with its number, and is no document', async () => {
  for (const { name, rule, body } of vectors.refusedServerKeys) {
    try {
      decodeServerKeys(fromHex(body));
      assert.unreachable(name);
    } catch (error) {
      assert.instance(error, ProtocolError, name);
      assert.is((error as ProtocolError).rule, rule, name);
    }
    const signed = { body: fromHex(body), sig: new Uint8Array(64) };
    assert.is(await openServerKeys(signed, () => true), null, name);
  }
});

test('K-2: the fingerprint is the SHA-256 of the root, which signs the document', async () => {
  for (const vector of vectors.serverKeys) {
    const signed = signedOf(vector);
    const { root } = decodeServerKeys(signed.body);
    assert.is(createHash('sha256').update(root).digest('base64url'), vector.fingerprint, vector.name);
  }
  const first = signedOf(named('the first'));
  assert.equal(await openServerKeys(first, verify), decodeServerKeys(first.body));
  assert.is(await openServerKeys(signedOf(named('signed by a signing key')), verify), null);
  const changed = { ...first, body: new Uint8Array(first.body) };
  changed.body[changed.body.length - 1] = 1;
  assert.is(await openServerKeys(changed, verify), null);
});

test('K-3: each document of the vectors is taken after the ones before it, or changes nothing', async () => {
  let held: ServerKeys | null = null;
  for (const vector of vectors.serverKeys) {
    const signed = signedOf(vector);
    const taken: ServerKeys | null = held
      ? await succeedServerKeys(held, signed, verify)
      : await openServerKeys(signed, verify);
    assert.is(taken !== null, vector.takenNext, vector.name);
    held = taken ?? held;
  }
  assert.is(held?.epoch, 2);
});

test('K-3: a document without the signature of the previous root replaces no root', async () => {
  const both = named('another root signed by both');
  const held = decodeServerKeys(fromHex(named('the next signing key is trusted').body));
  const good = signedOf(both);
  assert.ok(await succeedServerKeys(held, good, verify));
  const swapped = { ...good, previousSig: good.sig };
  assert.is(await succeedServerKeys(held, swapped, verify), null);
  const { previousSig: _, ...without } = good;
  assert.is(await succeedServerKeys(held, without, verify), null);
});

test('K-1: each of the signing keys signs for the installation, and nobody else', async () => {
  const { signing } = decodeServerKeys(fromHex(named('the next signing key is trusted').body));
  const pass = vectors.signatures.find(({ name }) => name === 'S-9 pass');
  assert.ok(pass);
  const [bytes, sig] = [fromHex(pass.signedBytes), fromHex(pass.sig)];
  assert.ok(await isSignedBy({ signing }, bytes, sig, verify));
  assert.ok(await isSignedBy({ signing: [...signing].reverse() }, bytes, sig, verify));
  const root = fromHex(vectors.keys.root.publicKey);
  assert.not.ok(await isSignedBy({ signing: [root] }, bytes, sig, verify));
});

test.run();
