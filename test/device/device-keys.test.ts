/** The keys that come from a device's secret, when it gets another one (K-6). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DeviceKeys } from '../../device/executions/device-keys.ts';
import { nodeCrypto } from '../../device/index.ts';
import { encryptSecret, SECRET_KEY_BYTES, WRAP_KEY_BYTES } from '../../protocol/index.ts';

const about = Uint8Array.of(1);
const plain = Uint8Array.of(2, 3);
const secretOf = (generation: number) => new Uint8Array(32).fill(generation);
const identity = { deviceId: 'dev-1', generation: 1, server: '' };

/** As the server seals with the secret of this generation. */
async function sealed(generation: number, label: Uint8Array) {
  const key = await nodeCrypto.mac(secretOf(generation), label);
  return encryptSecret(nodeCrypto, key, plain, about);
}

async function opens(keys: DeviceKeys, generation: number): Promise<boolean> {
  const secret = await keys.open('secret', await sealed(generation, SECRET_KEY_BYTES), about);
  const wrap = await keys.open('wrap', await sealed(generation, WRAP_KEY_BYTES), about);
  assert.is(secret === null, wrap === null);
  return secret !== null;
}

test('K-6: messages sealed with the previous secret open, and those of older secrets do not', async () => {
  const keys = new DeviceKeys({ ...identity, secret: secretOf(1) }, nodeCrypto);
  assert.equal([await opens(keys, 1), await opens(keys, 2)], [true, false]);
  keys.replace(secretOf(2));
  assert.equal([await opens(keys, 1), await opens(keys, 2)], [true, true]);
  keys.replace(secretOf(3));
  assert.equal([await opens(keys, 1), await opens(keys, 2), await opens(keys, 3)], [false, true, true]);
  const stored = { ...identity, generation: 3, secret: secretOf(3), formerSecret: secretOf(2) };
  const restarted = new DeviceKeys(stored, nodeCrypto);
  assert.equal([await opens(restarted, 1), await opens(restarted, 2)], [false, true]);
});

test('R-8: a result is authenticated with the newest secret', async () => {
  const keys = new DeviceKeys({ ...identity, secret: secretOf(1) }, nodeCrypto);
  const bytes = Uint8Array.of(7);
  const before = await keys.mac(bytes);
  keys.replace(secretOf(2));
  const second = new DeviceKeys({ ...identity, secret: secretOf(2) }, nodeCrypto);
  assert.not.equal(await keys.mac(bytes), before);
  assert.equal(await keys.mac(bytes), await second.mac(bytes));
});

test.run();
