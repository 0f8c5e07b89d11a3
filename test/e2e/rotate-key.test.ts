/** Devices change their own keys, and a crash at any point leaves them able to prove themselves. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiError, type DeviceKey, nodeCrypto } from '../../device/index.ts';
import { askRotation } from '../../device/rotate-key.ts';
import { encodeKeyRotation, keyRotationBytes } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import type { TestDevice } from './fleet.ts';
import { type Lab, withLab } from './lab.ts';

const { testLab } = withLab({ bus: 'memory' });

async function stateOf({ store }: TestDevice) {
  const { state } = await store.load();
  const { key, identity } = state;
  assert.ok(key && identity);
  return { ...state, key, identity };
}

/** The device obeys after it has connected again. */
async function provesItself(lab: Lab, device: TestDevice): Promise<void> {
  await device.stop();
  await device.start();
  await waitFor(() => device.connected, { what: 'the device to be connected' });
  const { id } = await lab.operator.send('statistics', [device]);
  assert.is((await lab.operator.finished(id)).counts.succeeded, 1);
}

async function confirmed(device: TestDevice, key: DeviceKey): Promise<void> {
  await waitFor(
    async () => {
      const state = await stateOf(device);
      return Buffer.compare(state.key.publicKey, key.publicKey) === 0 && !state.nextKey;
    },
    { what: 'the new key to be the only one' },
  );
}

/** The request as a device sends it; what is given differs. */
async function request(
  lab: Lab,
  device: TestDevice,
  to: DeviceKey,
  change: { from?: DeviceKey; toSig?: DeviceKey; fromSig?: DeviceKey } = {},
): Promise<number> {
  const { from = (await stateOf(device)).key, toSig = to, fromSig = from } = change;
  const { publicKey: sealTo } = await nodeCrypto.generateX25519();
  const keys = { from: from.publicKey, to: to.publicKey, sealTo };
  const body = encodeKeyRotation({ device: device.id, ...keys, generation: 1 });
  const signed = async (key: DeviceKey) =>
    Buffer.from(await nodeCrypto.sign(key.privateKey, keyRotationBytes(body))).toString('base64url');
  const text = Buffer.from(body).toString('base64url');
  const answer = await fetch(`${lab.deployment.server}/v1/rotate-key`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ body: text, fromSig: await signed(fromSig), toSig: await signed(toSig) }),
  });
  await answer.arrayBuffer();
  return answer.status;
}

testLab('K-6: a device rotates its key while it is connected, and is the same device', async (lab) => {
  const device = await lab.device();
  const before = await stateOf(device);
  await device.sdk.rotateKey();
  const after = await stateOf(device);
  assert.not.equal(after.key.publicKey, before.key.publicKey);
  assert.is(after.nextKey, undefined);
  // Whoever copied its files has neither the key nor the secret.
  const { secret, generation, formerSecret } = after.identity;
  assert.equal([generation, formerSecret], [2, before.identity.secret]);
  assert.not.equal(secret, before.identity.secret);
  assert.ok(device.connected);
  await provesItself(lab, device);
  assert.equal(device.refusals, []);
  await device.stop();
  await device.store.saveState(before);
  await device.start();
  await waitFor(() => device.closings.some(({ code }) => code === 4403), { what: 'the old key refused' });
  await device.stop();
  await device.store.saveState(after);
  await device.start();
  await waitFor(() => device.connected, { what: 'the device to be connected' });
});

testLab(
  'K-6: a device whose request never arrived proves its key, and goes on with the same',
  async (lab) => {
    const device = await lab.device();
    await device.stop();
    const nextKey = await nodeCrypto.generate();
    await device.store.saveState({ ...(await stateOf(device)), nextKey });
    await provesItself(lab, device);
    assert.ok((await stateOf(device)).nextKey);
    await device.sdk.rotateKey();
    await confirmed(device, nextKey);
    await provesItself(lab, device);
  },
);

testLab('K-6: a device that lost the answer proves the key that it asked for', async (lab) => {
  const device = await lab.device();
  await device.stop();
  const nextKey = await nodeCrypto.generate();
  const state = await stateOf(device);
  await device.store.saveState({ ...state, nextKey });
  const { deployment } = lab;
  const { identity, key: from, keys: held } = state;
  const lost = await askRotation({
    ...{ identity, from, to: nextKey, held },
    ...{ server: deployment.server, crypto: nodeCrypto },
  });
  assert.is(lost.generation, 2);
  await provesItself(lab, device);
  await confirmed(device, nextKey);
  // It goes on with the secret that it has, and gets the next one when it asks again.
  assert.is((await stateOf(device)).identity.generation, 1);
  await device.sdk.rotateKey();
  assert.is((await stateOf(device)).identity.generation, 2);
  await provesItself(lab, device);
});

testLab('K-6: the request needs the signatures of both keys and the key that counts', async (lab) => {
  const device = await lab.device();
  const [to, stranger] = [await nodeCrypto.generate(), await nodeCrypto.generate()];
  assert.is(await request(lab, device, to, { fromSig: stranger }), 401);
  assert.is(await request(lab, device, to, { toSig: stranger }), 401);
  assert.is(await request(lab, device, to, { from: stranger }), 401);
  const weak = { publicKey: new Uint8Array(32), privateKey: stranger.privateKey };
  assert.is(await request(lab, device, weak), 400);
  const other = await lab.device();
  assert.is(await request(lab, device, (await stateOf(other)).key), 409);
  const { key } = await stateOf(device);
  assert.is(await request(lab, device, to), 200);
  assert.is(await request(lab, device, to), 200, 'the same again');
  assert.is(await request(lab, device, stranger), 401, 'from a key that counts no more');
  await device.stop();
  await device.store.saveState({ ...(await stateOf(device)), key: to });
  await provesItself(lab, device);
  assert.is(await request(lab, device, to, { from: key }), 200, 'an old request changes nothing');
  await device.sdk.rotateKey();
  assert.is(await request(lab, device, to, { from: key }), 401);
});

testLab('K-6: a device that cannot reach its server keeps its key', async (lab) => {
  const device = await lab.device();
  await device.stop();
  const state = await stateOf(device);
  const nowhere = { ...state.identity, server: 'http://127.0.0.1:9' };
  await device.store.saveState({ ...state, identity: nowhere });
  await device.start();
  await waitFor(() => device.connected, { what: 'the device to be connected' });
  const error = await device.sdk.rotateKey().catch((caught: unknown) => caught);
  assert.instance(error, ApiError);
  assert.equal((await stateOf(device)).key.publicKey, state.key.publicKey);
  await provesItself(lab, device);
});

test.run();
