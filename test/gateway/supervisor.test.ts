import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { waitFor } from '../wait.ts';
import { withGateway } from './gateway-process.ts';

test('workers share port and connection limit, each with a lease; one port has health and metrics', () =>
  withGateway(
    2,
    async (gateway) => {
      await gateway.connect(30);
      const leases = await waitFor(async () => {
        const all = await gateway.leases();
        return all.reduce((sum, { load }) => sum + load.connections, 0) === 30 && all;
      });
      assert.equal(
        leases.map(({ identity, load }) => [identity.worker, load.limit, load.port, load.revision]),
        [
          ['gw1/0', 51, gateway.settings.port, 1],
          ['gw1/1', 50, gateway.settings.port, 1],
        ],
      );
      assert.ok(
        leases.every(({ load }) => load.connections > 0),
        'the kernel spreads connections',
      );
      const { status, ready, workers } = await gateway.readiness();
      assert.is(status, 200);
      assert.ok(ready);
      assert.equal(
        workers.map(({ worker, state, pid, restarts }) => [worker, state, pid, restarts]),
        leases.map(({ identity }) => [identity.worker, 'running', identity.pid, 0]),
      );
      const text = await gateway.metrics();
      const sessions = [...text.matchAll(/^pushpoint_gateway_sessions\{worker="gw1\/\d"\} (\d+)$/gm)];
      assert.is(sessions.length, 2);
      assert.is(
        sessions.reduce((sum, [, count]) => sum + Number(count), 0),
        30,
      );
      assert.match(text, 'pushpoint_gateway_worker_up{worker="gw1/1"} 1');
    },
    { connectionLimit: 101 },
  ));

test('a dead worker is replaced; its lease ends at once, and devices of its sibling are unaffected', () =>
  withGateway(2, async (gateway) => {
    const devices = await gateway.connect(12);
    const [victim] = await gateway.leases();
    if (!victim) throw new Error('no lease');
    const killedAt = Date.now();
    process.kill(victim.identity.pid, 'SIGKILL');
    await waitFor(async () =>
      (await gateway.leases()).every(({ incarnation }) => incarnation !== victim.incarnation),
    );
    assert.ok(Date.now() - killedAt < 5_000, 'before the lease would have expired');
    const { workers } = await gateway.until(({ workers: all }) =>
      all.every(({ port, pid }) => port && pid !== victim.identity.pid),
    );
    assert.is(workers[0]?.restarts, 1);
    const lost = devices.filter(({ closing }) => closing);
    assert.ok(lost.length > 0 && lost.length < devices.length, `${lost.length} lost`);
    for (const { closing } of lost) assert.is(closing?.code, 1006);
    for (const device of devices.filter(({ closing }) => !closing)) {
      device.send({ t: 'beat' });
      await device.take('beat');
    }
    assert.match(await gateway.metrics(), 'pushpoint_gateway_worker_restarts_total{worker="gw1/0"} 1');
  }));

test.run();
