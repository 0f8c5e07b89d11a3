import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CLOSE, LIMITS } from '../../protocol/index.ts';
import { makeStatus } from '../results.ts';
import { connectDevice } from './raw-device.ts';
import { type Rig, withRig } from './rig.ts';

async function settle(rig: Rig, id: string, ...devices: string[]): Promise<void> {
  const delivery = { devices, settled: { id, state: 'succeeded' as const } };
  assert.is(await rig.bus.outboxes.append(await rig.incarnation(), [delivery]), 'appended');
}

/** Resolves when the worker has handled what was put into its outbox before. */
async function outboxRead(rig: Rig): Promise<void> {
  const delivery = { devices: ['not-here'], frame: new Uint8Array(1), commandId: 'read' };
  await rig.bus.outboxes.append(await rig.incarnation(), [delivery]);
  await rig.receipt('undelivered', ({ command }) => command === 'read');
}

test('B-2: every beat is answered with the time', () =>
  withRig({}, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    for (let i = 0; i < 3; i++) {
      device.send({ t: 'beat' });
      const { time } = await device.take('beat');
      assert.ok(Math.abs(time - Date.now()) < 5_000);
    }
  }));

test('B-2, R-6: the answer to a beat settles what was stored since the last one, each once', () =>
  withRig({}, async (rig) => {
    const [one, two] = [await rig.enrol(), await rig.enrol()];
    const first = await connectDevice(rig.url, one);
    const second = await connectDevice(rig.url, two);
    await settle(rig, 'c1', one.id, two.id, 'not-here');
    await settle(rig, 'c2', two.id);
    await settle(rig, 'c1', two.id);
    await outboxRead(rig);
    for (const { device } of [first, second]) {
      assert.is(device.received.length, 0, 'nothing comes alone');
      device.send({ t: 'beat' });
    }
    assert.equal((await first.device.take('beat')).settled, ['c1']);
    assert.equal((await second.device.take('beat')).settled, ['c1', 'c2']);
    second.device.send({ t: 'beat' });
    assert.is((await second.device.take('beat')).settled, undefined);
    assert.equal(
      rig.receipts.flatMap((receipt) => (receipt.kind === 'undelivered' ? [receipt.command] : [])),
      ['read'],
    );
  }));

test('R-6: a confirmation that waits too long for a beat comes alone', () =>
  withRig({ config: { handshakeTimeoutMs: 1_000, settledAloneMs: 0 } }, async (rig) => {
    const [one, two] = [await rig.enrol(), await rig.enrol()];
    const first = await connectDevice(rig.url, one);
    const second = await connectDevice(rig.url, two);
    await settle(rig, 'c1', one.id);
    assert.equal(await first.device.take('settled'), { t: 'settled', id: 'c1', state: 'succeeded' });
    // One that leaves while it waits is in nobody's way.
    await settle(rig, 'c2', one.id);
    await first.device.close();
    await rig.receipt('disconnected');
    await settle(rig, 'c2', two.id);
    assert.is((await second.device.take('settled')).id, 'c2');
  }));

test('R-6: as many commands as a beat may settle do not wait for it', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const { device } = await connectDevice(rig.url, identity);
    const ids = Array.from({ length: LIMITS.settled }, (_, number) => `d${number}`);
    for (const id of ids) await settle(rig, id, identity.id);
    for (const id of ids) assert.is((await device.take('settled')).id, id);
    device.send({ t: 'beat' });
    assert.is((await device.take('beat')).settled, undefined);
  }));

test('R-6: a session that ends loses what waited for its beat', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const { device } = await connectDevice(rig.url, identity);
    await settle(rig, 'c1', identity.id);
    await outboxRead(rig);
    await device.close();
    const again = await connectDevice(rig.url, identity);
    again.device.send({ t: 'beat' });
    assert.is((await again.device.take('beat')).settled, undefined);
  }));

test('B-4: a device that says nothing for 2.5 intervals is closed, one that speaks is not', () =>
  withRig({ config: { heartbeatIntervalMs: 1_000 } }, async (rig) => {
    const silent = await connectDevice(rig.url, await rig.enrol());
    const lively = await connectDevice(rig.url, await rig.enrol());
    const began = Date.now();
    const beats = setInterval(() => lively.device.send({ t: 'ack', id: 'c1' }), 500);
    try {
      assert.is((await silent.device.closed()).code, CLOSE.heartbeatTimeout);
      assert.ok(Date.now() - began >= 2_400, `after ${Date.now() - began} ms`);
      assert.is(lively.device.closing, null);
      const ended = await rig.receipt('disconnected');
      assert.is(ended.code, CLOSE.heartbeatTimeout);
      assert.is(ended.session, silent.session);
    } finally {
      clearInterval(beats);
    }
  }));

test('B-5: what a device says of itself goes on unread, with the worker that has it', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const { device } = await connectDevice(rig.url, identity);
    device.send({ t: 'beat' });
    const status = makeStatus(identity, { number: 1, policy: 'p1', compliance: 'compliant' });
    device.send({ t: 'beat', status });
    const unread = { body: Uint8Array.of(0xc1), mac: new Uint8Array(32) };
    device.send({ t: 'beat', status: unread });
    for (let i = 0; i < 3; i++) await device.take('beat');
    await rig.receipt('status', ({ body }) => body.length === 1);
    const said = rig.receipts.flatMap((receipt) => (receipt.kind === 'status' ? [receipt] : []));
    assert.equal(
      said.map(({ body, mac }) => ({ body, mac })),
      [status, unread],
    );
    assert.equal(new Set(said.map(({ worker }) => worker)), new Set([rig.worker.name]));
  }));

test('B-1: measurements are passed on, cost many messages, and are dropped before the session is', () =>
  withRig({ config: { messagesPerSecond: 1, messageBurst: 200 } }, async (rig) => {
    const identity = await rig.enrol();
    const { device } = await connectDevice(rig.url, identity);
    const status = (number: number) => makeStatus(identity, { number });
    device.send({ t: 'beat', status: status(1), measured: [{ name: 'gw1', ms: 2 }] });
    for (let ms = 0; ms < 50; ms++) device.send({ t: 'beat', measured: ms % 2 ? [] : [{ name: 'gw1', ms }] });
    device.send({ t: 'beat', status: status(2) });
    await rig.receipt('status', ({ mac }) => Buffer.from(mac).equals(status(2).mac));
    assert.equal(
      rig.receipts.flatMap((receipt) => (receipt.kind === 'measured' ? [receipt.measured] : [])),
      [[{ name: 'gw1', ms: 2 }]],
    );
    assert.is(rig.receipts.filter(({ kind }) => kind === 'status').length, 2);
    assert.is(device.closing, null);
  }));

test.run();
