import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { waitFor } from '../wait.ts';
import { connectDevice } from './raw-device.ts';
import { ROOT, withRig } from './rig.ts';

test('G-5: a probe gets 204 at once, with the name of the gateway, and web pages may read it', () =>
  withRig({}, async (rig) => {
    const answer = await fetch(`http://127.0.0.1:${rig.worker.port}/probe`);
    assert.is(answer.status, 204);
    assert.is(answer.headers.get('pushpoint-gateway'), 'gw1');
    assert.is(answer.headers.get('cache-control'), 'no-store');
    assert.is(answer.headers.get('access-control-allow-origin'), '*');
    assert.match(answer.headers.get('access-control-expose-headers') ?? '', 'Pushpoint-Gateway');
    assert.is(await rig.metric('probes_total'), 1);
  }));

test('G-5: a gateway that admits nobody refuses probes as it refuses connections', () =>
  withRig({ settings: {} }, async (rig) => {
    await rig.putGateway({ name: 'gw2', address: 'ws://gw2.example.net' });
    await rig.putGateway({ draining: true, revision: 2 });
    const answer = await waitFor(async () => {
      const response = await fetch(`http://127.0.0.1:${rig.worker.port}/probe`);
      return response.status === 503 && response;
    });
    assert.is(answer.headers.get('pushpoint-gateways'), 'gw2');
    assert.ok(Number(answer.headers.get('retry-after')) >= 1);
    assert.is(answer.headers.get('access-control-allow-origin'), '*');
  }));

test('G-6: probes and connections have one limit', () =>
  withRig({ config: { upgradesPerSecond: 1 } }, async (rig) => {
    const probe = async () => (await fetch(`http://127.0.0.1:${rig.worker.port}/probe`)).status;
    await connectDevice(rig.url, await rig.enrol());
    const answers = [await probe(), await probe(), await probe()];
    assert.ok(answers.includes(503), answers.join());
    assert.ok((await rig.metric('upgrades_refused_total', 'rate')) > 0);
  }));

test('round trips to a sample of devices are measured and reported; unrequested pongs do not count', () =>
  withRig({ config: { leaseTtlMs: 300, initial: { group: ROOT, port: 0 } } }, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    const forged = Buffer.alloc(8);
    forged.writeDoubleBE(-1e9);
    device.socket.pong(forged);
    const { roundTripMs } = await waitFor(async () => {
      const load = await rig.load();
      return load.roundTripMs && load;
    });
    assert.ok(roundTripMs && roundTripMs.p50 > 0 && roundTripMs.p50 <= roundTripMs.p99, 'in order');
    assert.ok(roundTripMs.p99 < 5_000, `${roundTripMs.p99} ms`);
    assert.ok((await rig.metric('round_trip_seconds', '+Inf')) > 0);
  }));

test.run();
