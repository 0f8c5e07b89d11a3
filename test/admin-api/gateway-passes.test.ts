import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GatewayPassWriter } from '../../admin-api/directory/gateway-passes.ts';
import { decodePass, passBytes } from '../../protocol/index.ts';

const HOUR = 3_600_000;

function signer() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const { x } = publicKey.export({ format: 'jwk' });
  return {
    current: [Buffer.from(x as string, 'base64url')],
    signPass: (body: Uint8Array) => sign(null, passBytes(body), privateKey),
  };
}

test('S-9: a pass lasts a day and is renewed every hour, whichever server wrote it', () => {
  const [key, at] = [signer(), { now: 10 * HOUR }];
  const [one, two] = [1, 2].map(() => new GatewayPassWriter(key, () => at.now)) as [
    GatewayPassWriter,
    GatewayPassWriter,
  ];
  const first = one.of('gw1', undefined);
  assert.equal(decodePass(first.body), { gateway: 'gw1', issuedAt: 10 * HOUR, expiresAt: 34 * HOUR });
  at.now += HOUR;
  assert.is(two.of('gw1', first), first);
  at.now += 1;
  const second = two.of('gw1', first);
  assert.is(decodePass(second.body).issuedAt, at.now);
  assert.is(one.of('gw1', second), second);
});

test('S-9: what is not a pass of this gateway by this key is replaced', () => {
  const key = signer();
  const writer = new GatewayPassWriter(key, () => HOUR);
  const foreign = new GatewayPassWriter(signer(), () => HOUR).of('gw1', undefined);
  const other = writer.of('gw2', undefined);
  for (const written of [foreign, other, { body: Uint8Array.of(1), sig: new Uint8Array(64) }]) {
    assert.is.not(writer.of('gw1', written), written);
  }
});

test('S-9, K-4: when the key that signs changes, passes by the one before it are replaced', () => {
  const [before, after] = [signer(), signer()];
  const changing = { ...before };
  const writer = new GatewayPassWriter(changing, () => HOUR);
  const first = writer.of('gw1', undefined);
  changing.current = [...before.current, ...after.current];
  assert.is(writer.of('gw1', first), first);
  Object.assign(changing, after);
  const second = writer.of('gw1', first);
  assert.is.not(second, first);
  assert.is(writer.of('gw1', second), second);
});

test.run();
