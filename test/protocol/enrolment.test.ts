/** The vectors of section E, with OpenSSL alone. */
import { createHash, verify } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { holdsKey } from '../../admin-api/key-proof.ts';
import { nodeHpke } from '../../protocol/hpke-node.ts';
import {
  decodeEnrolled,
  decodeEnrolRequest,
  type Enrolled,
  type EnrolRequest,
  encodeEnrolled,
  encodeEnrolRequest,
  enrolBytes,
  enrolledBytes,
  followServerKeys,
  isStrictEd25519,
  isStrictX25519,
  openSealed,
  ProtocolError,
  parseToken,
  refusedBytes,
  sealedSecretBytes,
  sealTo,
  tokenText,
} from '../../protocol/index.ts';
import { fromSeed } from '../enrolment.ts';
import { littleEndian, NOT_CANONICAL, SMALL_ORDER_ED25519, SMALL_ORDER_X25519 } from './small-order.ts';
import { fromHex, fromView, toHex, toView, vectors } from './vectors-file.ts';

const { token, request, answer, refusal } = vectors.enrolment;
const sha256 = (hex: string): string => createHash('sha256').update(fromHex(hex)).digest('hex');
const ascii = (text: string): string => Buffer.from(text, 'latin1').toString('hex');
const signedBy = (seed: string, signedBytes: string, sig: string): boolean =>
  verify(null, fromHex(signedBytes), fromSeed(fromHex(seed)), fromHex(sig));

test('E-1: a token is an id, a seed and the fingerprint of the installation', () => {
  const { text, id, seed, fingerprint } = token;
  const parts = { id, seed: fromHex(seed), fingerprint: fromHex(fingerprint) };
  assert.is(tokenText('pp1', parts), text);
  assert.equal(parseToken('pp1', text), parts);
  assert.is(sha256(vectors.keys.root.publicKey), fingerprint);
});

test('E-2: a request is signed by token and device over the body as it travels', () => {
  assert.is(toHex(encodeEnrolRequest(fromView(request.fields) as EnrolRequest)), request.body);
  assert.equal(toView(decodeEnrolRequest(fromHex(request.body))), request.fields);
  assert.is(request.signedBytes, ascii('pushpoint.v1 enroll\0') + request.body);
  assert.is(toHex(enrolBytes(fromHex(request.body))), request.signedBytes);
  assert.is(sha256(request.body + request.tokenSig + request.deviceSig), request.hash);
  assert.ok(signedBy(token.seed, request.signedBytes, request.tokenSig));
  assert.ok(signedBy(vectors.keys.device.seed, request.signedBytes, request.deviceSig));
});

test('E-2, E-8: bodies of requests that break a rule are refused with its number', () => {
  for (const { name, rule, body } of vectors.refusedEnrolRequests) {
    try {
      decodeEnrolRequest(fromHex(body));
      assert.unreachable(name);
    } catch (error) {
      assert.instance(error, ProtocolError, name);
      assert.is((error as ProtocolError).rule, rule, name);
    }
  }
});

test('E-3: an answer is signed over the request and its body, and brings the secret sealed', async () => {
  assert.is(toHex(encodeEnrolled(fromView(answer.fields) as Enrolled)), answer.body);
  const enrolled = decodeEnrolled(fromHex(answer.body));
  assert.equal(toView(enrolled), answer.fields);
  assert.is(answer.signedBytes, ascii('pushpoint.v1 enrolled\0') + request.hash + answer.body);
  assert.is(toHex(enrolledBytes(fromHex(request.hash), fromHex(answer.body))), answer.signedBytes);
  assert.ok(signedBy(vectors.keys.server.seed, answer.signedBytes, answer.sig));
  assert.is(answer.info, ascii('pushpoint.v1 secret\0') + request.hash);
  const info = sealedSecretBytes(fromHex(request.hash));
  assert.is(toHex(info), answer.info);
  const { sealTo: publicKey } = decodeEnrolRequest(fromHex(request.body));
  const pair = { publicKey, privateKey: fromHex(request.sealToPrivateKey) };
  const opened = await openSealed({ platform: nodeHpke, info, pair, sealed: enrolled.secret });
  assert.is(toHex(opened), answer.secret);
});

test('K-7: documents of an answer lead from the root of the token to the keys that signed it', async () => {
  const documents = answer.keys.map(({ body, sig, previousSig }) => ({
    ...{ body: fromHex(body), sig: fromHex(sig) },
    ...(previousSig !== undefined && { previousSig: fromHex(previousSig) }),
  }));
  const isOfToken = (root: Uint8Array) => sha256(toHex(root)) === token.fingerprint;
  const followed = await followServerKeys(documents, isOfToken, holdsKey);
  assert.equal(
    followed.map(({ keys }) => toHex(keys.root)),
    [vectors.keys.root.publicKey, vectors.keys.nextRoot.publicKey],
  );
  const signing = followed.at(-1)?.keys.signing ?? [];
  assert.ok(signing.some((key) => holdsKey(key, fromHex(answer.signedBytes), fromHex(answer.sig))));
  // Without the first, nobody vouches for the second.
  assert.equal(await followServerKeys(documents.slice(1), isOfToken, holdsKey), []);
});

test('E-6: a refusal is signed over the request, the code and the detail', () => {
  const { code, detail, signedBytes, sig } = refusal;
  assert.is(signedBytes, ascii('pushpoint.v1 refused\0') + request.hash + ascii(`${code}\0${detail}`));
  assert.is(toHex(refusedBytes(fromHex(request.hash), code, detail)), signedBytes);
  assert.ok(signedBy(vectors.keys.server.seed, signedBytes, sig));
});

test('E-3: a message with associated data is sealed as the vector says', async () => {
  const { privateKey, publicKey, ephemeralKey, info, associated, message, enc, ct } = vectors.hpke;
  const ephemeral = { privateKey: fromHex(ephemeralKey), publicKey: fromHex(enc) };
  const purpose = { info: fromHex(info), associated: fromHex(associated) };
  const platform = { ...nodeHpke, generateX25519: () => ephemeral };
  const sealed = await sealTo({
    ...{ platform, ...purpose },
    ...{ publicKey: fromHex(publicKey), message: fromHex(message) },
  });
  assert.equal([toHex(sealed.enc), toHex(sealed.ct)], [enc, ct]);
  const pair = { privateKey: fromHex(privateKey), publicKey: fromHex(publicKey) };
  assert.is(toHex(await openSealed({ platform: nodeHpke, ...purpose, pair, sealed })), message);
});

test('E-8: the public keys of the vectors are refused, every one of small order among them', () => {
  const { ed25519, x25519 } = vectors.refusedPublicKeys;
  for (const key of ed25519) assert.not(isStrictEd25519(fromHex(key)), key);
  for (const key of x25519) assert.not(isStrictX25519(fromHex(key)), key);
  for (const key of SMALL_ORDER_ED25519) assert.ok(ed25519.includes(toHex(key)));
  for (const key of SMALL_ORDER_X25519) assert.ok(x25519.includes(toHex(key)));
  assert.ok(NOT_CANONICAL.some((key) => ed25519.includes(toHex(key))));
  assert.ok(isStrictX25519(littleEndian(9n)));
});

test.run();
