/** What a device believes of an answer to its enrolment: nothing that its server did not sign for it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openAnswer, type SignedRequest, signRequest } from '../../device/enrolment-messages.ts';
import { nodeCrypto } from '../../device/index.ts';
import { fromBase64url, toBase64url } from '../../device/platform/base64url.ts';
import { webCrypto } from '../../device/platform/crypto-web.ts';
import { parseToken, sealedSecretBytes, sealTo, type TokenParts } from '../../protocol/index.ts';
import { SMALL_ORDER_X25519 } from '../protocol/small-order.ts';
import { enrolment, ROOT, SECRET, TOKEN } from './script-admin.ts';

const about = { name: 'till-7', platform: 'linux-x64', software: 'test/1' };
const token = parseToken('pp1', TOKEN) as TokenParts;
const key = await nodeCrypto.generate();
const other = await nodeCrypto.generate();

const ask = (crypto = nodeCrypto) => signRequest({ token, key, crypto, about });

async function refused(answer: Record<string, unknown>, request: SignedRequest): Promise<string> {
  return openAnswer(answer, request, undefined).then(
    () => 'taken',
    (error: Error) => error.message,
  );
}

test('E-3: node:crypto and WebCrypto read the same answer', async () => {
  for (const crypto of [nodeCrypto, webCrypto]) {
    const request = await ask(crypto);
    const { deviceId, secret } = await openAnswer(await enrolment(request.json), request, undefined);
    assert.is(deviceId, 'dev-1');
    assert.equal(secret, SECRET);
  }
});

test('E-3: an answer of which any byte was changed is not taken', async () => {
  const request = await ask();
  const good = await enrolment(request.json);
  assert.is(await refused(good, request), 'taken');
  const [{ body: keysBody = '', sig: keysSig = '' } = {}] = good.keys;
  let changes = 0;
  const changed = async (text: string, put: (changed: string) => Record<string, unknown>) => {
    const bytes = fromBase64url(text);
    for (let at = 0; at < bytes.length; at++) {
      const copy = bytes.slice();
      copy[at] = (copy[at] as number) ^ (1 << (at % 8));
      assert.not.equal(await refused(put(toBase64url(copy)), request), 'taken');
      changes += 1;
    }
  };
  await changed(good.body, (body) => ({ ...good, body }));
  await changed(good.sig, (sig) => ({ ...good, sig }));
  await changed(keysBody, (body) => ({ ...good, keys: [{ ...good.keys[0], body }] }));
  await changed(keysSig, (sig) => ({ ...good, keys: [{ ...good.keys[0], sig }] }));
  assert.ok(changes > 600, String(changes));
  for (const missing of ['body', 'sig', 'keys'] as const) {
    assert.not.equal(await refused({ ...good, [missing]: undefined }, request), 'taken', missing);
  }
  for (const keys of [[], {}, good.keys[0], Array(17).fill(good.keys[0])]) {
    assert.match(await refused({ ...good, keys }, request), /keys: 1 to 16 documents/);
  }
});

test('E-3: an answer to another request is not taken, though the same server gave it', async () => {
  const [earlier, request] = [await ask(), await ask()];
  assert.is(await refused(await enrolment(earlier.json), request), 'signature');
  const another = await signRequest({ token, key: other, crypto: nodeCrypto, about });
  assert.is(await refused(await enrolment(another.json), request), 'signature');
});

test('E-4: an answer of another installation is not taken, however well it is signed', async () => {
  const request = await ask();
  const theirs = await enrolment(request.json, {
    serverKey: other,
    keys: { root: other, signing: [key.publicKey] },
  });
  assert.match(await refused(theirs, request), /not of the installation/);
  // The root is public; whoever signs in its name needs its private key.
  const inItsName = { publicKey: ROOT.publicKey, privateKey: other.privateKey };
  const forged = await enrolment(request.json, { serverKey: other, keys: { root: inItsName } });
  assert.match(await refused(forged, request), /not of the installation/);
  const notNamed = await enrolment(request.json, { serverKey: other, keys: { signing: [key.publicKey] } });
  assert.is(await refused(notNamed, request), 'signature');
});

test('E-3: a membership of another device, or that names another key, is not taken', async () => {
  const request = await ask();
  for (const membership of [
    { target: { device: 'dev-2' } },
    { key: other.publicKey },
    { state: 'blocked' as const, key: new Uint8Array(32) },
  ]) {
    assert.match(await refused(await enrolment(request.json, { membership }), request), /membership/);
  }
});

test('E-3: a secret that was not sealed for this request is not taken', async () => {
  const request = await ask();
  const earlier = await ask();
  const seal = (to: Uint8Array, hash: Uint8Array) =>
    sealTo({ platform: nodeCrypto, publicKey: to, info: sealedSecretBytes(hash), message: SECRET });
  for (const secret of [
    await seal(earlier.sealTo.publicKey, request.hash),
    await seal(request.sealTo.publicKey, earlier.hash),
  ]) {
    assert.not.equal(await refused(await enrolment(request.json, { secret }), request), 'taken');
  }
  const good = await seal(request.sealTo.publicKey, request.hash);
  assert.is(await refused(await enrolment(request.json, { secret: good }), request), 'taken');
});

test('E-8: an answer whose one-time key is of small order is not taken', async () => {
  const request = await ask();
  for (const enc of SMALL_ORDER_X25519) {
    const secret = { enc, ct: new Uint8Array(48) };
    const message = await refused(await enrolment(request.json, { secret, unchecked: true }), request);
    assert.match(message, /E-8: enc/);
  }
});

test('E-3: fields of an answer that are not as they should be are refused', async () => {
  const request = await ask();
  for (const change of [
    { deviceId: '!', membership: { target: { device: 'dev-1' } } },
    { installation: undefined },
    { generation: 0 },
    { generation: 1.5 },
    { raw: { gateways: 'gw-1' } },
    { raw: { gateways: [{ name: 'gw-1', url: 'ws://127.0.0.1:1' }] } },
    { raw: { list: [] } },
    { raw: { list: { body: Uint8Array.of(0x80), sig: new Uint8Array(63) } } },
    { secret: { enc: new Uint8Array(31), ct: new Uint8Array(48) } },
  ]) {
    const answer = await enrolment(request.json, { ...(change as object), unchecked: true });
    assert.not.equal(await refused(answer, request), 'taken', JSON.stringify(change));
  }
});

test.run();
