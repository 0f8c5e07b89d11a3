import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CANARY_COMMAND, canaryOf, isCanary } from '../../bus/canary.ts';
import {
  CLOSE,
  decodeResultBody,
  encodeGatewayMessage,
  encodeOrderBody,
  ID_PATTERN,
} from '../../protocol/index.ts';
import { freePort, waitFor } from '../wait.ts';
import { connectDevice, directoryDevice, makeIdentity, prove, RawDevice } from './raw-device.ts';
import { type Rig, ROOT, withRig } from './rig.ts';

const config = { canary: true, metricsPort: 0 };
const device = canaryOf('gw1/0');

/** What an administration server does for it: the key of its lease goes into the directory. */
async function register(rig: Rig): Promise<void> {
  const lease = await waitFor(async () => (await rig.bus.inner.leases.list())[0]);
  assert.ok(lease.identity.canaryKey);
  const canary = { id: device, publicKey: lease.identity.canaryKey };
  await rig.bus.inner.directory.putDevices([directoryDevice(canary, [ROOT])]);
}

const holder = async (rig: Rig) => (await rig.bus.inner.presence.locate([device]))[0] ?? null;

async function sendNoOp(rig: Rig, id: string): Promise<void> {
  const at = Date.now();
  const body = encodeOrderBody({
    kind: 'command',
    id,
    type: CANARY_COMMAND,
    args: { by: 'test', at },
    target: { device },
    issuedAt: at,
    expiresAt: at + 60_000,
    timeoutMs: 60_000,
  });
  const frame = encodeGatewayMessage({ t: 'order', body, sig: new Uint8Array(64) });
  assert.is(
    await rig.bus.inner.outboxes.append(await rig.incarnation(), [{ devices: [device], frame }]),
    'appended',
  );
}

test("a worker's canary has an id that is an identifier and no worker's sibling has", () => {
  const ids = ['gw1/0', 'gw1/1', `${'g'.repeat(64)}/1023`].map(canaryOf);
  assert.is(new Set(ids).size, 3);
  assert.ok(ids.every((id) => ID_PATTERN.test(id) && isCanary(id)));
});

test('a registered canary answers a no-op through the spool, is confirmed, and counts nowhere', () =>
  withRig({ config: { ...config, leaseTtlMs: 900 } }, async (rig) => {
    const { device: real } = await connectDevice(rig.url, await rig.enrol());
    await register(rig);
    await waitFor(() => holder(rig));
    await sendNoOp(rig, 'n1');
    const { body } = await rig.receipt('result', ({ command }) => command === 'n1');
    const { state, data } = decodeResultBody(body);
    assert.is(state, 'succeeded');
    assert.is((data as { by: string }).by, 'test');
    const frame = encodeGatewayMessage({ t: 'settled', id: 'n1', state: 'succeeded' });
    await rig.bus.inner.outboxes.append(await rig.incarnation(), [{ devices: [device], frame }]);
    await waitFor(async () => (await rig.metric('canary_round_trips_total')) === 1);
    assert.is(rig.worker.sessions, 1);
    assert.is(await rig.metric('sessions'), 1);
    assert.is(await rig.metric('connections'), 1);
    assert.is(await rig.metric('sessions_admitted_total'), 1);
    await waitFor(async () => (await rig.load()).connections === 1);
    assert.is(rig.receipts.filter(({ kind }) => kind === 'connected').length, 1);
    assert.ok(rig.worker.readiness().dependencies.canary?.ok);
    real.close();
  }));

test('a canary holds up neither a drain nor a stop', async () => {
  const port = await freePort();
  const settings = { port, address: `ws://127.0.0.1:${port}` };
  await withRig({ config: { ...config, leaseTtlMs: 900 }, settings }, async (rig) => {
    await register(rig);
    await waitFor(() => holder(rig));
    await rig.putGateway({ ...settings, draining: true, revision: 2 });
    await waitFor(
      async () => (await rig.load()).leaving?.why === 'drain' && (await rig.load()).leaving?.left === 0,
    );
    assert.ok(await holder(rig), 'it can still be asked');
    await rig.worker.stop({ deadlineMs: 5_000 });
    assert.is(await holder(rig), null);
    assert.is(rig.receipts.length, 0);
  });
});

test('a canary returns after its lease was lost, and is claimed again', () =>
  withRig({ config: { ...config, leaseTtlMs: 600 } }, async (rig) => {
    await register(rig);
    const before = await waitFor(() => holder(rig));
    await rig.bus.inner.leases.release(before.incarnation);
    await waitFor(async () => ((await holder(rig))?.session ?? 0) > before.session);
    await sendNoOp(rig, 'n2');
    await rig.receipt('result', ({ command }) => command === 'n2');
    assert.is(rig.receipts.filter(({ kind }) => kind === 'connected').length, 0);
  }));

test('H-3: no socket gets in under the id of a canary, not even with the stored key', () =>
  withRig({ config }, async (rig) => {
    const stranger = makeIdentity(canaryOf('gw1/7'));
    await rig.bus.inner.directory.putDevices([directoryDevice(stranger, [ROOT])]);
    const socket = new RawDevice(rig.url);
    await prove(socket, stranger);
    assert.is((await socket.closed()).code, CLOSE.unknownDevice);
    assert.is(await rig.metric('sessions'), 0);
  }));

test('a canary waits for an administration server that registers it; the worker is ready anyway', () =>
  withRig({ config }, async (rig) => {
    await waitFor(() => rig.worker.readiness().ready);
    assert.is(await holder(rig), null);
    assert.is(await rig.metric('connections_closed_total'), 0);
  }));

test.run();
