import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CLOSE } from '../../protocol/index.ts';
import { connectDevice } from './raw-device.ts';
import { withRig } from './rig.ts';

test('B-2: every beat is answered with the time', () =>
  withRig({}, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    for (let i = 0; i < 3; i++) {
      device.send({ t: 'beat' });
      const { time } = await device.take('beat');
      assert.ok(Math.abs(time - Date.now()) < 5_000);
    }
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

test('B-1: what a device says of itself goes on only when it changed', () =>
  withRig({}, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    device.send({ t: 'beat' });
    device.send({ t: 'beat', policy: 'p1', compliance: 'compliant' });
    device.send({ t: 'beat', policy: 'p1', compliance: 'compliant' });
    device.send({ t: 'beat' });
    device.send({ t: 'beat', compliance: 'warn' });
    device.send({ t: 'beat', policy: 'p1' });
    for (let i = 0; i < 6; i++) await device.take('beat');
    await rig.receipt('status', ({ compliance }) => compliance === 'warn');
    const statuses = rig.receipts.flatMap((receipt) => (receipt.kind === 'status' ? [receipt] : []));
    assert.equal(
      statuses.map(({ policy, compliance }) => [policy, compliance]),
      [
        ['p1', 'compliant'],
        ['p1', 'warn'],
      ],
    );
  }));

test('B-1: measurements are passed on, cost many messages, and are dropped before the session is', () =>
  withRig({ config: { messagesPerSecond: 1, messageBurst: 200 } }, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    device.send({ t: 'beat', policy: 'p1', measured: [{ name: 'gw1', ms: 2 }] });
    for (let ms = 0; ms < 50; ms++) device.send({ t: 'beat', measured: ms % 2 ? [] : [{ name: 'gw1', ms }] });
    device.send({ t: 'beat', policy: 'last' });
    await rig.receipt('status', ({ policy }) => policy === 'last');
    const said = rig.receipts.flatMap((receipt) => (receipt.kind === 'status' ? [receipt] : []));
    assert.equal(
      said.map(({ policy, measured }) => [policy, measured]),
      [
        ['p1', [{ name: 'gw1', ms: 2 }]],
        ['last', undefined],
      ],
    );
    assert.is(device.closing, null);
  }));

test.run();
