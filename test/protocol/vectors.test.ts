import { Buffer } from 'node:buffer';
import { createHmac, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  CLOSE,
  closeName,
  type DeviceMessage,
  decodeDeviceMessage,
  decodeGatewayMessage,
  decodeOrderBody,
  decodeResultBody,
  decodeStatusBody,
  encodeDeviceMessage,
  encodeGatewayMessage,
  encodeOrderBody,
  encodeResultBody,
  encodeStatusBody,
  type GatewayMessage,
  locatedBytes,
  type OrderBody,
  orderBytes,
  ProtocolError,
  proofBytes,
  type ResultBody,
  reconnectAdvice,
  resultBytes,
  type StatusBody,
  statusBytes,
} from '../../protocol/index.ts';
import { makeVectors } from '../../scripts/vectors/make.ts';
import { fromHex, fromView, toHex, toView, vectors, vectorsText } from './vectors-file.ts';

const decoders = { device: decodeDeviceMessage, gateway: decodeGatewayMessage };

function refusal(decode: () => unknown): ProtocolError {
  let value: unknown;
  try {
    value = decode();
  } catch (error) {
    assert.instance(error, ProtocolError);
    return error as ProtocolError;
  }
  throw new Error(`taken as ${JSON.stringify(value)}`);
}

function privateKey(seed: string) {
  const key = Buffer.from(`302e020100300506032b657004220420${seed}`, 'hex');
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
}

function publicKey(raw: string) {
  const key = Buffer.from(`302a300506032b6570032100${raw}`, 'hex');
  return createPublicKey({ key, format: 'der', type: 'spki' });
}

test('vectors.json is what its generator makes', () => {
  assert.ok(vectorsText === makeVectors(), 'run node dist/scripts/make-vectors.js');
});

test('F-2: every golden frame decodes to its message, and the message encodes to the frame', () => {
  for (const { name, from, hex, message } of vectors.written) {
    assert.equal(toView(decoders[from](fromHex(hex))), message, name);
    const encoded =
      from === 'device'
        ? encodeDeviceMessage(fromView(message) as DeviceMessage)
        : encodeGatewayMessage(fromView(message) as GatewayMessage);
    assert.is(toHex(encoded), hex, name);
  }
});

test('F-4, F-5, F-6, V-2: frames as other encoders write them decode to the same messages', () => {
  for (const { name, from, hex, message } of vectors.alsoRead) {
    assert.equal(toView(decoders[from](fromHex(hex))), message, name);
  }
});

test('F-2, F-4, F-5, F-6: frames that break a rule are refused with its number and close code', () => {
  for (const { name, from, rule, closeCode, hex } of vectors.refused) {
    const error = refusal(() => decoders[from](fromHex(hex)));
    assert.is(error.rule, rule, name);
    // A device has one code of its own (section F).
    assert.is(from === 'device' ? CLOSE.protocolError : 1002, closeCode, name);
    assert.ok(error.message.startsWith(`${rule}: `) && error.message.length <= 123, name);
  }
});

test('every message of both directions is among the golden frames', () => {
  const named = (from: string) =>
    [
      ...new Set(vectors.written.filter((v) => v.from === from).map((v) => (v.message as { t: string }).t)),
    ].sort();
  assert.equal(named('device'), ['ack', 'beat', 'progress', 'prove', 'result', 'want']);
  assert.equal(named('gateway'), [
    'beat',
    'challenge',
    'keep',
    'key',
    'keys',
    'order',
    'pass',
    'redirect',
    'settled',
    'update',
    'welcome',
  ]);
});

test('S-1: orders sign and verify with the server key, over the body as it travels', () => {
  const { seed, publicKey: raw } = vectors.keys.server;
  for (const { name, order, body, signedBytes, sig, frame } of vectors.orders) {
    assert.is(toHex(encodeOrderBody(fromView(order) as OrderBody)), body, name);
    assert.equal(toView(decodeOrderBody(fromHex(body))), order, name);
    assert.is(toHex(orderBytes(fromHex(body))), signedBytes, name);
    assert.is(sign(null, fromHex(signedBytes), privateKey(seed)).toString('hex'), sig, name);
    assert.ok(verify(null, fromHex(signedBytes), publicKey(raw), fromHex(sig)), name);
    assert.equal(toView(decodeGatewayMessage(fromHex(frame))), {
      t: 'order',
      body: { hex: body },
      sig: { hex: sig },
    });
  }
});

test('S-3, V-2: order bodies as other encoders write them decode to the same orders', () => {
  for (const { name, body, order } of vectors.bodies) {
    assert.equal(toView(decodeOrderBody(fromHex(body))), order, name);
  }
});

test('S-3, S-4, S-7: order bodies that break a rule are refused with its number', () => {
  for (const { name, rule, body } of vectors.refusedBodies) {
    assert.is(refusal(() => decodeOrderBody(fromHex(body))).rule, rule, name);
  }
});

test('R-8: results are authenticated with a key from the secret, over the body as it travels', () => {
  const mac = (key: string, bytes: Uint8Array) =>
    createHmac('sha512', fromHex(key)).update(bytes).digest().subarray(0, 32).toString('hex');
  const { secret, key } = vectors.resultKey;
  assert.is(mac(secret, Buffer.from('result')), key);
  const ascii = (text: string) => Buffer.from(text, 'latin1').toString('hex');
  for (const { name, device, id, end, body, authenticatedBytes, mac: code, frame } of vectors.results) {
    assert.is(toHex(encodeResultBody(fromView(end) as ResultBody)), body, name);
    assert.equal(toView(decodeResultBody(fromHex(body))), end, name);
    assert.is(authenticatedBytes, ascii(`pushpoint.v1 result\0${device}\0${id}\0`) + body, name);
    assert.is(toHex(resultBytes(device, id, fromHex(body))), authenticatedBytes, name);
    assert.is(mac(key, fromHex(authenticatedBytes)), code, name);
    const message = { t: 'result', id, body: { hex: body }, mac: { hex: code } };
    assert.equal(toView(decodeDeviceMessage(fromHex(frame))), message, name);
  }
});

test('R-1, R-4: bodies of results are read like the ledger does, or refused with the broken rule', () => {
  for (const { name, body, end } of vectors.resultBodies) {
    assert.equal(toView(decodeResultBody(fromHex(body))), end, name);
  }
  for (const { name, rule, body } of vectors.refusedResultBodies) {
    assert.is(refusal(() => decodeResultBody(fromHex(body))).rule, rule, name);
  }
});

test('B-5: a status is sealed with the key of results, and read or refused like the ledger does', () => {
  const key = fromHex(vectors.resultKey.key);
  const ascii = (text: string) => Buffer.from(text, 'latin1').toString('hex');
  for (const { name, device, status, body, authenticatedBytes, mac, frame } of vectors.statuses) {
    assert.is(toHex(encodeStatusBody(fromView(status) as StatusBody)), body, name);
    assert.is(authenticatedBytes, ascii(`pushpoint.v1 status\0${device}\0`) + body, name);
    assert.is(toHex(statusBytes(device, fromHex(body))), authenticatedBytes, name);
    const code = createHmac('sha512', key).update(fromHex(authenticatedBytes)).digest().subarray(0, 32);
    assert.is(toHex(code), mac, name);
    const message = { t: 'beat', status: { body: { hex: body }, mac: { hex: mac } } };
    assert.equal(toView(decodeDeviceMessage(fromHex(frame))), message, name);
  }
  for (const { name, body, status } of [...vectors.statuses, ...vectors.statusBodies]) {
    assert.equal(toView(decodeStatusBody(fromHex(body))), status, name);
  }
  for (const { name, rule, body } of vectors.refusedStatusBodies) {
    assert.is(refusal(() => decodeStatusBody(fromHex(body))).rule, rule, name);
  }
});

test('H-4, K-6, S-9, G-16: signed bytes other than orders are spelled out byte by byte', () => {
  const [prove, rotate, pass, locate, located] = vectors.signatures;
  assert.ok(prove && rotate && pass && locate && located);
  const ascii = (text: string) => Buffer.from(text, 'latin1').toString('hex');
  assert.is(
    prove.signedBytes,
    ascii('pushpoint.v1 prove\0') +
      prove.inputs.nonce +
      ascii(`${prove.inputs.gateway}\0${prove.inputs.device}`),
  );
  assert.is(
    toHex(
      proofBytes(fromHex(prove.inputs.nonce ?? ''), prove.inputs.gateway ?? '', prove.inputs.device ?? ''),
    ),
    prove.signedBytes,
  );
  assert.is(rotate.signedBytes, ascii('pushpoint.v1 rotate\0') + rotate.inputs.body);
  assert.is(pass.signedBytes, ascii('pushpoint.v1 pass\0') + pass.inputs.body);
  assert.is(
    locate.signedBytes,
    ascii('pushpoint.v1 locate\0') +
      locate.inputs.nonce +
      ascii(`${locate.inputs.challenge}\0${locate.inputs.device}`),
  );
  const { nonce = '', device = '', gateways = [], list = '' } = located.inputs;
  const names = gateways.map((name) => `${name}\0`);
  assert.is(
    located.signedBytes,
    ascii('pushpoint.v1 located\0') + nonce + ascii(`${device}\0${names.join('')}\0`) + list,
  );
  assert.is(toHex(locatedBytes(fromHex(nonce), device, gateways, fromHex(list))), located.signedBytes);
  for (const { name, key, signedBytes, sig, sigBase64url } of vectors.signatures) {
    const { seed, publicKey: raw } = vectors.keys[key];
    assert.is(sign(null, fromHex(signedBytes), privateKey(seed)).toString('hex'), sig, name);
    assert.ok(verify(null, fromHex(signedBytes), publicKey(raw), fromHex(sig)), name);
    assert.is(Buffer.from(sigBase64url, 'base64url').toString('hex'), sig, name);
  }
});

test('H-4: a proof does not verify for another nonce, gateway, device or purpose', () => {
  const prove = vectors.signatures[0];
  assert.ok(prove);
  const key = publicKey(vectors.keys.device.publicKey);
  const { nonce = '', gateway = '', device = '' } = prove.inputs;
  const holds = (bytes: Uint8Array) => verify(null, bytes, key, fromHex(prove.sig));
  const otherNonce = fromHex(nonce);
  otherNonce[31] = 0;
  assert.ok(holds(proofBytes(fromHex(nonce), gateway, device)));
  assert.not(holds(proofBytes(otherNonce, gateway, device)));
  assert.not(holds(proofBytes(fromHex(nonce), 'gw2', device)));
  assert.not(holds(proofBytes(fromHex(nonce), gateway, 'dev-0')));
  // The zero byte keeps "gw1" + "dev" apart from "gw" + "1dev".
  assert.not(holds(proofBytes(fromHex(nonce), gateway.slice(0, -1), gateway.slice(-1) + device)));
  assert.not(holds(orderBytes(proofBytes(fromHex(nonce), gateway, device))));
});

test('C-1, C-2: close codes have these names and ask these things', () => {
  for (const { code, name, advice } of vectors.closeCodes) {
    assert.is(closeName(code), name, String(code));
    assert.is(reconnectAdvice(code), advice, String(code));
  }
});

test.run();
