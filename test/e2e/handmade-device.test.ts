/**
 * A device made by hand, from PROTOCOL.md and frames alone, at the real thing; enrolment by the SDK and by
 * hand.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pack, unpack } from 'msgpackr';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type EnrollError, enroll, MemoryStore } from '../../device/index.ts';
import {
  decodeEnrolRequest,
  encodeDeviceMessage,
  parseToken,
  type TokenParts,
  tokenText,
} from '../../protocol/index.ts';
import { connectDevice, RawDevice } from '../gateway/raw-device.ts';
import { makeResult } from '../results.ts';
import { waitFor } from '../wait.ts';
import { enrolByHand, type HandMade } from './enrol-by-hand.ts';
import { TestDevice } from './fleet.ts';
import { type Lab, withLab } from './lab.ts';
import type { ExecutionView } from './operator.ts';

const { testLab } = withLab({ bus: 'memory' });

async function enrolledByHand(lab: Lab): Promise<HandMade & { url: string }> {
  const made = await enrolByHand(lab.deployment.server, await lab.operator.enrolmentToken('all', 1));
  return { ...made, url: made.gateways[0]?.url ?? '' };
}

testLab('E-1: the private key stays with the device, and whoever has it is the device', async (lab) => {
  const bodies: string[] = [];
  const eavesdropper = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    bodies.push(body);
    const answer = await fetch(`${lab.deployment.server}${request.url}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
  });
  await new Promise<void>((resolve) => eavesdropper.listen(0, '127.0.0.1', resolve));
  const server = `http://127.0.0.1:${(eavesdropper.address() as AddressInfo).port}`;
  const store = new MemoryStore();
  try {
    const token = await lab.operator.enrolmentToken('all', 1);
    await enroll({ server, token, store, name: 'original' });
  } finally {
    eavesdropper.closeAllConnections();
    eavesdropper.close();
  }
  const { state } = await store.load();
  const { privateKey, publicKey } = state.key ??
    assert.unreachable('no key') ?? { privateKey: 0, publicKey: 0 };
  const [said = ''] = bodies;
  const body = Buffer.from(JSON.parse(said).body, 'base64url');
  assert.equal(decodeEnrolRequest(body).publicKey, publicKey);
  // An Ed25519 private key is a seed of 32 bytes, in whatever wrapping.
  const seed = Buffer.from(privateKey as Uint8Array).subarray(-32);
  for (const encoding of ['base64url', 'base64', 'hex'] as const) {
    const hidden = seed.toString(encoding).replace(/=+$/, '');
    assert.not.ok(said.includes(hidden) || body.toString(encoding).includes(hidden), encoding);
  }
  const [original, copy] = ['original', 'copy'].map(
    (name) => new TestDevice({ name, group: 'all', store: new MemoryStore(state) }),
  ) as [TestDevice, TestDevice];
  original.id = copy.id = state.identity?.deviceId ?? '';
  lab.devices.push(original);
  await original.start();
  await waitFor(() => original.connected, { what: 'the device to connect' });
  await copy.start();
  try {
    await waitFor(() => original.closings.some(({ code }) => code === 4205), {
      what: 'the copy to replace it',
    });
  } finally {
    await copy.stop();
  }
});

testLab('E-6: what is wrong with an enrolment is said with a status and a code', async (lab) => {
  const enrolWith = (token: string) =>
    enroll({ server: lab.deployment.server, token, store: new MemoryStore(), name: 'nobody' }).then(
      () => 'enrolled',
      (error: EnrollError) => `${error.status} ${error.code} ${error.temporary ? 'try again' : 'stop'}`,
    );
  assert.is(await enrolWith('ppe_notATokenAtAll'), '0  stop');
  const token = await lab.operator.enrolmentToken('all', 1);
  const parts = parseToken('pp1', token) as TokenParts;
  const unknown = tokenText('pp1', { ...parts, id: 'e0' });
  const noSeed = tokenText('pp1', { ...parts, seed: new Uint8Array(32) });
  for (const bad of [unknown, noSeed]) assert.is(await enrolWith(bad), '401 unauthorized stop');
  const store = new MemoryStore();
  await enroll({ server: lab.deployment.server, token, store, name: 'first' });
  assert.is(await enrolWith(token), '410 gone stop');
  const id = (await store.load()).state.identity?.deviceId;
  await lab.operator.api.request('PATCH', `/v1/devices/${id}`, { body: { blocked: true } });
  const again = enroll({ server: lab.deployment.server, token, store, name: 'first', again: true });
  assert.is(await again.catch((error: EnrollError) => error.code), 'conflict');
  await lab.operator.api.request('DELETE', `/v1/devices/${id}`);
});

testLab('V-3: an upgrade that offers no version this gateway speaks is refused with 400', async (lab) => {
  const { url } = await enrolledByHand(lab);
  const device = new RawDevice(url, ['pushpoint.v9', 'mqtt']);
  await device.closed();
  assert.is(device.refused?.status, 400);
});

testLab('F-7: a device may say 200 things at once, and is closed with 4207 when it goes on', async (lab) => {
  const identity = await enrolledByHand(lab);
  const { device } = await connectDevice(identity.url, identity, { membership: [0, 0] });
  const beat = encodeDeviceMessage({ t: 'beat' });
  for (let n = 0; n < 190; n++) device.sendBytes(beat);
  await waitFor(() => device.received.filter(({ t }) => t === 'beat').length === 190, {
    what: 'every beat to be answered',
  });
  assert.is(device.closing, null);
  for (let n = 0; n < 400; n++) device.sendBytes(beat);
  assert.is((await device.closed()).code, 4207);
});

testLab('R-1: a result without an ack before it stands for both, and is settled', async (lab) => {
  const identity = await enrolledByHand(lab);
  const { device } = await connectDevice(identity.url, identity, { membership: [0, 0] });
  const { body } = await device.take('order');
  assert.ok(body.length > 0);
  const command = await lab.operator.api.request<{ id: string }>('POST', '/v1/commands', {
    body: { type: 'sync', target: { devices: [identity.id] } },
  });
  await device.take('order');
  const data = { revision: 'by hand' };
  device.send(makeResult(identity, command.id, { state: 'succeeded', data }));
  const settled = await device.take('settled');
  assert.is(settled.id, command.id);
  assert.is(settled.state, 'succeeded');
  await lab.operator.finished(command.id);
  const path = `/v1/commands/${command.id}/executions/${identity.id}`;
  const execution = await lab.operator.api.get<ExecutionView>(path);
  assert.equal(execution.data, { revision: 'by hand' });
  assert.ok(execution.ackedAt);
  await device.close();
});

testLab('S-7: a device that holds no membership gets the current one once', async (lab) => {
  const identity = await enrolledByHand(lab);
  const { device } = await connectDevice(identity.url, identity, { membership: [0, 0] });
  // The answer to a result comes after everything that the ledger sends because of the connect.
  for (const id of ['c-unknown-1', 'c-unknown-2']) {
    device.send(makeResult(identity, id));
    await device.take('settled');
  }
  assert.is(device.received.filter(({ t }) => t === 'order').length, 1);
  await device.close();
});

testLab('R-6: a result of a command that the ledger never had is settled as unknown', async (lab) => {
  const identity = await enrolledByHand(lab);
  const { device } = await connectDevice(identity.url, identity, { membership: [0, 0] });
  const id = `c${createHash('sha256').update(identity.id).digest('hex').slice(0, 19)}`;
  device.send(makeResult(identity, id));
  assert.equal(await device.take('settled'), { t: 'settled', id, state: 'unknown' });
  await device.close();
});

testLab(
  'a device cannot speak for another: its words on a command that was not for it change nothing',
  async (lab) => {
    const victim = await lab.device();
    await victim.stop();
    const { id } = await lab.operator.send('sync', [victim]);
    const identity = await enrolledByHand(lab);
    const { device } = await connectDevice(identity.url, identity, { membership: [0, 0] });
    device.send({ t: 'ack', id });
    device.send(makeResult(identity, id));
    assert.is((await device.take('settled')).state, 'unknown');
    assert.is((await lab.operator.execution(id, victim)).state, 'queued');
    await victim.start();
    await lab.operator.reaches(id, victim, 'succeeded');
    await device.close();
  },
);

const code = (key: Uint8Array, text: string | Buffer) =>
  createHmac('sha512', key).update(text).digest().subarray(0, 32);
const about = (...parts: (string | number)[]) => Buffer.from(`pushpoint.v1 sealed ${parts.join('\0')}`);

function opened(key: Uint8Array, { nonce, ct }: { nonce: Uint8Array; ct: Uint8Array }, associated: Buffer) {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce)
    .setAAD(associated)
    .setAuthTag(ct.subarray(-16));
  return Buffer.concat([decipher.update(ct.subarray(0, -16)), decipher.final()]);
}

function sealed(key: Uint8Array, plain: Uint8Array, associated: Buffer) {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(associated);
  return { nonce, ct: Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]) };
}

testLab(
  'X-1, X-2, X-3, X-5, X-6, X-8: a device made by hand runs a secret command of its group',
  async (lab) => {
    const identity = await enrolledByHand(lab);
    const secret = identity.secret as Uint8Array;
    const { device } = await connectDevice(identity.url, identity, { membership: [0, 0] });
    await device.take('order');
    const args = { topic: 'credentials', body: 'correct horse' };
    const { id } = await lab.operator.api.request<{ id: string }>('POST', '/v1/commands', {
      body: { type: 'message', args, target: { all: true }, secret: true },
    });
    const { body } = await device.take('order');
    const order = unpack(body) as { id: string; args?: unknown; sealed: SealedByGroup };
    assert.equal([order.id, order.args], [id, undefined]);
    device.send({ t: 'ack', id });
    const { group, epoch, number } = order.sealed.key;
    device.send({ t: 'want', group, epoch, number });
    const answer = await device.take('key');
    const key = opened(code(secret, 'wrap'), answer, about('key', identity.id, group, epoch, number));
    const plain = opened(key, order.sealed, about('args', id, 'group', group, epoch, number));
    assert.equal(unpack(plain), args);

    const end = pack({ state: 'succeeded', data: { got: args.body } });
    const result = pack(sealed(code(secret, 'secret'), end, about('result', identity.id, id)));
    const said = Buffer.concat([Buffer.from(`pushpoint.v1 result\0${identity.id}\0${id}\0`), result]);
    device.send({ t: 'result', id, body: result, mac: code(code(secret, 'result'), said) });
    await waitFor(async () => {
      device.send({ t: 'beat' });
      return (await device.take('beat')).settled?.includes(id);
    });
    const path = `/v1/commands/${id}/executions/${identity.id}/reveal`;
    const execution = await lab.operator.api.request<ExecutionView>('POST', path);
    assert.equal(execution.data, { got: args.body });
    await device.close();
  },
);

interface SealedByGroup {
  key: { group: string; epoch: number; number: number };
  nonce: Uint8Array;
  ct: Uint8Array;
}

test.run();
