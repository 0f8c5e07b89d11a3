import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Liveness, Readiness } from '../../gateway/health.ts';
import { waitFor } from '../wait.ts';
import { connectDevice } from './raw-device.ts';
import { withRig } from './rig.ts';

const config = { metricsPort: 0 };

test('ready names what is missing and since when, and answers 503', () =>
  withRig({ config }, async (rig) => {
    const get = () => fetch(`http://127.0.0.1:${rig.worker.metricsPort}/ready`);
    assert.is((await get()).status, 200);
    rig.bus.cut(true);
    const answer = await get();
    assert.is(answer.status, 503);
    const { ready, dependencies } = (await answer.json()) as Readiness;
    assert.is(ready, false);
    assert.is(dependencies.bus?.ok, false);
    assert.is(dependencies.bus?.reason, 'cut off');
    assert.ok(Math.abs(Date.parse(dependencies.bus?.since ?? '') - Date.now()) < 5_000);
    rig.bus.cut(false);
    await waitFor(async () => (await get()).status === 200);
  }));

test('live answers while the bus is away; unknown paths get 404', () =>
  withRig({ config }, async (rig) => {
    rig.bus.cut(true);
    const base = `http://127.0.0.1:${rig.worker.metricsPort}`;
    const live = await fetch(`${base}/live`);
    assert.is(live.status, 200);
    const { loops, dependencies } = (await live.json()) as Liveness;
    assert.equal(Object.keys(loops), ['lease', 'outbox', 'receipts']);
    assert.ok(Object.values(loops).every(({ ok, since }) => ok && Date.parse(since) <= Date.now()));
    assert.equal([dependencies.bus?.ok, dependencies.bus?.reason], [false, 'cut off']);
    assert.is(await rig.metric('ready'), 0);
    assert.ok((await rig.metric('dependency_lost_seconds', 'bus')) >= 0);
    assert.is((await fetch(`${base}/nothing`)).status, 404);
  }));

test('metrics count what happened, by close code and worker', () =>
  withRig({ config }, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    await connectDevice(rig.url, await rig.enrol());
    device.sendText('x');
    await device.closed();
    const text = await (await fetch(`http://127.0.0.1:${rig.worker.metricsPort}/metrics`)).text();
    assert.match(text, 'pushpoint_gateway_sessions{worker="gw1/0"} 1');
    assert.match(text, 'pushpoint_gateway_sessions_admitted_total{worker="gw1/0"} 2');
    assert.match(text, 'pushpoint_gateway_connections_closed_total{worker="gw1/0",code="protocolError"} 1');
  }));

test.run();
