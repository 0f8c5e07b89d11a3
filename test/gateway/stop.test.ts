import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CLOSE } from '../../protocol/index.ts';
import { makeResult } from '../results.ts';
import { waitFor } from '../wait.ts';
import { connectDevice, RawDevice } from './raw-device.ts';
import { withRig } from './rig.ts';

test('a stop redirects devices, appends their receipts, and releases presence and lease, in this order', () =>
  withRig({ settings: {} }, async (rig) => {
    await rig.putGateway({ name: 'gw2', address: 'ws://gw2.example.net' });
    const identity = await rig.enrol();
    const { device, session } = await connectDevice(rig.url, identity);
    const halfway = new RawDevice(rig.url);
    await waitFor(() => halfway.received.length === 1);
    const order: string[] = [];
    const { inner } = rig.bus;
    const spy = <T extends object, K extends keyof T>(what: string, part: T, key: K) => {
      const original = part[key] as unknown as (...args: unknown[]) => unknown;
      part[key] = ((...args: unknown[]) => {
        if (order.at(-1) !== what) order.push(what);
        return original.apply(part, args);
      }) as unknown as T[K];
    };
    device.send({ t: 'ack', id: 'c1' });
    device.send(makeResult({ id: 'd' }, 'c1'));
    device.send({ t: 'beat' });
    await device.take('beat');
    spy('presence', inner.presence, 'release');
    spy('lease', inner.leases, 'release');
    await rig.worker.stop({ deadlineMs: 5_000 });
    assert.equal(order, ['presence', 'lease']);
    const redirect = await device.take('redirect');
    assert.is(redirect.reason, 'drain');
    assert.equal(redirect.to, ['gw2']);
    assert.is((await device.closed()).code, CLOSE.draining);
    assert.is((await halfway.closed()).code, CLOSE.draining);
    assert.is((await rig.receipt('result')).command, 'c1');
    assert.is((await rig.receipt('disconnected')).session, session);
    assert.equal(await rig.bus.presence.locate([identity.id]), [null]);
    assert.equal(await rig.bus.leases.list(), []);
    const late = new RawDevice(`ws://127.0.0.1:${rig.worker.port}/`);
    await late.closed();
    // Whoever listens on the port by now, it is not this worker.
    assert.is(rig.worker.sessions, 0);
    assert.is(rig.worker.readiness().listening, false);
  }));

test('devices are sent away at the pace that is set', () =>
  withRig({ config: { drainPerSecond: 20 } }, async (rig) => {
    const identities = await Promise.all(Array.from({ length: 10 }, () => rig.enrol()));
    await Promise.all(identities.map((identity) => connectDevice(rig.url, identity)));
    const began = Date.now();
    await rig.worker.stop({ deadlineMs: 10_000 });
    assert.ok(Date.now() - began >= 400, `took ${Date.now() - began} ms`);
  }));

test('a deadline that is near raises the pace', () =>
  withRig({ config: { drainPerSecond: 1 } }, async (rig) => {
    const identities = await Promise.all(Array.from({ length: 20 }, () => rig.enrol()));
    const devices = await Promise.all(identities.map((identity) => connectDevice(rig.url, identity)));
    const began = Date.now();
    await rig.worker.stop({ deadlineMs: 1_000 });
    assert.ok(Date.now() - began < 1_500, `took ${Date.now() - began} ms`);
    for (const { device } of devices) assert.is((await device.closed()).code, CLOSE.draining);
  }));

test('a stop while the bus is away ends at its deadline', () =>
  withRig({}, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    rig.bus.cut(true);
    const began = Date.now();
    await rig.worker.stop({ deadlineMs: 500 });
    assert.ok(Date.now() - began < 2_000, `took ${Date.now() - began} ms`);
    assert.is((await device.closed()).code, CLOSE.draining);
  }));

test('a second stop is the first', () =>
  withRig({}, async (rig) => {
    const first = rig.worker.stop();
    assert.is(rig.worker.stop(), first);
    await first;
  }));

test.run();
