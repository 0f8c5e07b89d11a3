import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Delivery } from '../../bus/bus.ts';
import { CLOSE, encodeGatewayMessage } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import { connectDevice } from './raw-device.ts';
import { Rig, withRig } from './rig.ts';

const settled = (id: string) => encodeGatewayMessage({ t: 'settled', id, state: 'succeeded' });

async function append(rig: Rig, ...deliveries: Delivery[]): Promise<void> {
  assert.is(await rig.bus.outboxes.append(await rig.incarnation(), deliveries), 'appended');
}

test('D-1: one entry brings the same bytes to every device it names', () =>
  withRig({}, async (rig) => {
    const identities = await Promise.all([rig.enrol(), rig.enrol(), rig.enrol()]);
    const devices = await Promise.all(identities.map((identity) => connectDevice(rig.url, identity)));
    const bytes = settled('c1');
    // A view into a larger buffer, as a bus over the network hands it out.
    const frame = Buffer.concat([new Uint8Array(7), bytes, new Uint8Array(9)]).subarray(7, 7 + bytes.length);
    await append(rig, { devices: identities.slice(0, 2).map(({ id }) => id), frame, commandId: 'c1' });
    assert.is((await devices[0]?.device.take('settled'))?.id, 'c1');
    assert.is((await devices[1]?.device.take('settled'))?.id, 'c1');
    assert.is(devices[2]?.device.received.length, 0);
    await waitFor(
      async () => (await rig.bus.outboxes.read(await rig.incarnation(), null, 10)).entries.length === 0,
    );
  }));

test('D-2: entries for one device arrive in order, however many there are', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const { device } = await connectDevice(rig.url, identity);
    const ids = Array.from({ length: 500 }, (_, i) => `c${i}`);
    await append(rig, ...ids.map((id) => ({ devices: [identity.id], frame: settled(id), commandId: id })));
    await waitFor(() => device.received.length === ids.length);
    assert.equal(
      device.received.map((message) => message.t === 'settled' && message.id),
      ids,
    );
  }));

test('a command for a device that is not here is reported undelivered, and only that', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const { device } = await connectDevice(rig.url, identity);
    await append(
      rig,
      { devices: ['nobody', identity.id, 'no-one'], frame: settled('c1'), commandId: 'c1' },
      { devices: ['nobody'], frame: settled('c2') },
    );
    await device.take('settled');
    const receipt = await rig.receipt('undelivered');
    assert.equal(receipt.devices, ['nobody', 'no-one']);
    assert.is(receipt.command, 'c1');
    assert.is(receipt.incarnation, await rig.incarnation());
    assert.is(rig.receipts.filter(({ kind }) => kind === 'undelivered').length, 1);
  }));

test('an entry with a close closes the session it names after the frame, and no other session', () =>
  withRig({}, async (rig) => {
    const [first, second, third] = [await rig.enrol(), await rig.enrol(), await rig.enrol()];
    const one = await connectDevice(rig.url, first);
    const two = await connectDevice(rig.url, second);
    const three = await connectDevice(rig.url, third);
    await append(rig, {
      devices: [first.id, second.id, third.id],
      frame: settled('c1'),
      close: { code: CLOSE.blocked, reason: 'blocked', sessions: [one.session, two.session - 1, 0] },
    });
    await one.device.take('settled');
    assert.is((await one.device.closed()).code, CLOSE.blocked);
    assert.is((await three.device.closed()).code, CLOSE.blocked);
    two.device.send({ t: 'beat' });
    await two.device.take('beat');
    assert.is(two.device.received.length, 0);
    assert.is((await rig.receipt('disconnected', ({ device }) => device === first.id)).reason, 'blocked');
  }));

test('entries behind a close of the same session are left out, and those of other devices arrive', () =>
  withRig({}, async (rig) => {
    const [first, second] = [await rig.enrol(), await rig.enrol()];
    const one = await connectDevice(rig.url, first);
    const two = await connectDevice(rig.url, second);
    await append(
      rig,
      { devices: [second.id], frame: settled('c0') },
      { devices: [first.id], frame: settled('c1'), close: { code: CLOSE.draining, reason: 'drain' } },
      { devices: [first.id], frame: settled('c2'), groups: ['all'], commandId: 'c2' },
      { devices: [second.id], frame: settled('c3') },
    );
    await one.device.take('settled');
    assert.is((await one.device.closed()).code, CLOSE.draining);
    assert.is((await two.device.take('settled')).id, 'c0');
    assert.is((await two.device.take('settled')).id, 'c3');
    const receipt = await rig.receipt('undelivered', ({ command }) => command === 'c2');
    assert.equal(receipt.devices, [first.id]);
    // Each came once: the entries were not read again.
    two.device.send({ t: 'beat' });
    await two.device.take('beat');
    assert.equal(two.device.received, []);
  }));

test('H-9: a device that moves to another worker is closed on the first', () =>
  withRig({}, async (rig) => {
    const second = new Rig({ bus: rig.bus, config: { name: 'gw2' } });
    await second.start({});
    try {
      const identity = await rig.enrol();
      const here = await connectDevice(rig.url, identity);
      const there = await connectDevice(second.url, identity);
      assert.ok(there.session > here.session);
      assert.is((await here.device.closed()).code, CLOSE.replaced);
      there.device.send({ t: 'beat' });
      await there.device.take('beat');
      const [holder] = await rig.bus.presence.locate([identity.id]);
      assert.is(holder?.session, there.session);
    } finally {
      await second.stop();
    }
  }));

test('C-1: a device that does not read is closed, and what was dropped is reported undelivered', () =>
  withRig({ config: { maxBackpressureBytes: 64 * 1024 } }, async (rig) => {
    const identity = await rig.enrol();
    const { device } = await connectDevice(rig.url, identity);
    device.socket.pause();
    const frame = encodeGatewayMessage({ t: 'order', body: new Uint8Array(60_000), sig: new Uint8Array(64) });
    const entries = Array.from({ length: 400 }, (_, i) => ({
      devices: [identity.id],
      frame,
      commandId: `c${i}`,
    }));
    await append(rig, ...entries);
    const ended = await rig.receipt('disconnected');
    assert.is(ended.code, CLOSE.backpressure);
    const missed = new Set<string>();
    await waitFor(() => {
      for (const receipt of rig.receipts) if (receipt.kind === 'undelivered') missed.add(receipt.command);
      return missed.has('c399');
    });
    const first = [...missed].map((id) => Number(id.slice(1))).sort((a, b) => a - b)[0] ?? 0;
    assert.ok(first > 0, 'the first was buffered');
    assert.is(missed.size, 400 - first, 'nothing is sent after the first that was dropped');
    device.socket.resume();
    await device.closed();
    assert.is(await rig.metric('buffered_bytes'), 0);
  }));

test('D-3, D-5, R-8: acknowledgement, progress and result are passed on as they came', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const { device } = await connectDevice(rig.url, identity);
    device.send({ t: 'ack', id: 'c1' });
    device.send({ t: 'progress', id: 'c1', percent: 40, note: 'on it' });
    // Whatever the body holds: a gateway does not look.
    const body = Uint8Array.of(0xc1, 0xff, 0xfe);
    const mac = new Uint8Array(32).fill(7);
    device.send({ t: 'result', id: 'c1', body, mac });
    const result = await rig.receipt('result');
    const said = rig.receipts.filter(({ kind }) => kind !== 'connected').map(({ at: _at, ...rest }) => rest);
    assert.equal(said.slice(0, 2), [
      { kind: 'ack', device: identity.id, command: 'c1' },
      { kind: 'progress', device: identity.id, command: 'c1', percent: 40, note: 'on it' },
    ]);
    const { at: _, ...passed } = result;
    const who = { kind: 'result', device: identity.id, command: 'c1', worker: 'gw1/0' };
    assert.equal(passed, { ...who, body, mac });
  }));

test('D-5: progress beyond one a second is not passed on', () =>
  withRig({}, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    for (let i = 0; i < 60; i++) device.send({ t: 'progress', id: 'c1', percent: i });
    device.send({ t: 'ack', id: 'last' });
    await rig.receipt('ack');
    const passed = rig.receipts.filter(({ kind }) => kind === 'progress').length;
    assert.ok(passed >= 16 && passed <= 18, `${passed} passed`);
    assert.is(await rig.metric('progress_limited_total'), 60 - passed);
  }));

test('C-6: a device may close with 1000; one line logs the whole session', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const { device, session } = await connectDevice(rig.url, identity);
    device.send({ t: 'beat' });
    await device.take('beat');
    await device.close();
    const line = await waitFor(() => rig.log.find(({ msg }) => msg === 'session ended'));
    assert.is(line.deviceId, identity.id);
    assert.is(line.session, session);
    assert.is(line.worker, 'gw1/0');
    assert.is(line.code, 1000);
    assert.is(line.framesIn, 2);
    assert.is(line.framesOut, 3);
    assert.type(line.connectionId, 'string');
    assert.type(line.durationMs, 'number');
  }));

test.run();
