import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CLOSE, encodeDeviceMessage, encodeValue, LIMITS } from '../../protocol/index.ts';
import { makeResult, makeStatus } from '../results.ts';
import { seeded } from '../seeded.ts';
import { waitFor } from '../wait.ts';
import { connectDevice, prove, RawDevice } from './raw-device.ts';
import { withRig } from './rig.ts';

test('F-1: a text frame ends the connection, before and after welcome', () =>
  withRig({}, async (rig) => {
    const early = new RawDevice(rig.url);
    await early.take('challenge');
    early.sendText('{"t":"prove"}');
    const closing = await early.closed();
    assert.is(closing.code, CLOSE.protocolError);
    assert.match(closing.reason, 'F-1');
    const { device } = await connectDevice(rig.url, await rig.enrol());
    device.sendText('hello');
    assert.is((await device.closed()).code, CLOSE.protocolError);
  }));

test('F-3: a frame over the limit ends the connection, one at the limit is read', () =>
  withRig({}, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    const padding = new Uint8Array(LIMITS.frameBytes - 20);
    const longest = encodeValue({ t: 'beat', padding });
    assert.ok(longest.length <= LIMITS.frameBytes);
    device.sendBytes(longest);
    await device.take('beat');
    device.sendBytes(encodeValue({ t: 'beat', padding: new Uint8Array(LIMITS.frameBytes) }));
    await device.closed();
    const ended = await rig.receipt('disconnected');
    assert.is(ended.device, 'device-1');
  }));

test('V-2: after welcome a message of a later version and unknown fields are skipped', () =>
  withRig({}, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    device.sendBytes(encodeValue({ t: 'later', x: 1 }));
    device.sendBytes(encodeValue({ t: 'beat', later: [1, 2] }));
    await device.take('beat');
  }));

test('F-6: a result whose body is too long ends the connection', () =>
  withRig({}, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    const body = new Uint8Array(LIMITS.resultBytes + 1);
    device.sendBytes(encodeValue({ t: 'result', id: 'c1', body, mac: new Uint8Array(32) }));
    const closing = await device.closed();
    assert.is(closing.code, CLOSE.protocolError);
    assert.match(closing.reason, 'F-6: body');
  }));

test('F-7: a device that sends more frames than it may is closed with tooFast', () =>
  withRig({ config: { messagesPerSecond: 10, messageBurst: 20 } }, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    for (let i = 0; i < 15; i++) device.send({ t: 'beat' });
    for (let i = 0; i < 15; i++) await device.take('beat');
    for (let i = 0; i < 30; i++) device.send({ t: 'beat' });
    assert.is((await device.closed()).code, CLOSE.tooFast);
  }));

test('F-2: random bytes before welcome always end the connection with a code in the 4400s', () =>
  withRig({ config: { upgradesPerSecond: 10_000 } }, async (rig) => {
    const next = seeded(20_261_122);
    const devices = Array.from({ length: 150 }, () => new RawDevice(rig.url));
    await Promise.all(devices.map((device) => device.take('challenge')));
    for (const device of devices) {
      device.sendBytes(Uint8Array.from({ length: Math.floor(next() * 200) }, () => next() * 256));
    }
    for (const device of devices) {
      const { code } = await device.closed();
      assert.ok(code >= 4400 && code < 4500, `closed with ${code}`);
    }
    assert.is(await rig.metric('faults_total'), 0);
  }));

test('F-6: messages with changed bytes never harm the gateway: it reads, skips, or closes with 44xx', () =>
  withRig({ config: { upgradesPerSecond: 10_000, messageBurst: 10_000 } }, async (rig) => {
    const next = seeded(7);
    const identity = await rig.enrol();
    const seeds = [
      encodeDeviceMessage({ t: 'beat', status: makeStatus(identity, { number: 1, policy: 'p1' }) }),
      encodeDeviceMessage({ t: 'ack', id: 'command-1' }),
      encodeDeviceMessage({ t: 'progress', id: 'command-1', percent: 50, note: 'half' }),
      encodeDeviceMessage(makeResult(identity, 'command-1', { state: 'failed', data: { a: [1, null] } })),
    ];
    let { device } = await connectDevice(rig.url, identity);
    for (let i = 0; i < 600; i++) {
      const bytes = Uint8Array.from(seeds[i % seeds.length] ?? []);
      for (let n = 0; n <= next() * 3; n++) bytes[Math.floor(next() * bytes.length)] = next() * 256;
      device.sendBytes(bytes);
      if (i % 10 !== 9) continue;
      device.send({ t: 'beat' });
      await waitFor(() => device.closing || device.received.some(({ t }) => t === 'beat'));
      device.received.length = 0;
      if (!device.closing) continue;
      const { code } = device.closing;
      assert.ok(code >= 4400 && code < 4500, `closed with ${code}`);
      ({ device } = await connectDevice(rig.url, identity));
    }
    assert.is(await rig.metric('faults_total'), 0);
  }));

test('a connection cut in the middle of its handshake leaves nothing behind', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    for (let i = 0; i < 20; i++) {
      const device = new RawDevice(rig.url);
      await prove(device, identity);
      device.socket.terminate();
    }
    await waitFor(async () => (await rig.metric('connections')) === 0);
    await waitFor(async () => (await rig.bus.presence.locate([identity.id]))[0] === null);
  }));

test.run();
