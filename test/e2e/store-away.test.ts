import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { waitFor } from '../wait.ts';
import { workFor } from './fleet.ts';
import { withLab } from './lab.ts';

const { testLab } = withLab({ bus: 'redis', store: 'postgres', gateways: 1 });

interface Ready {
  ready: boolean;
  dependencies: Record<string, { ok: boolean; since: string; reason?: string }>;
}

testLab(
  'without its database the server answers 503 with Retry-After, and what it had accepted comes to its ' +
    'end afterwards',
  async (lab) => {
    const { deployment, operator } = lab;
    const devices = await lab.fleet(6, { work: workFor(1_500, 3_000) });
    const running = await operator.send('sync', devices, { all: true });
    await waitFor(() => devices.every((device) => device.runs.has(running.id)));
    await deployment.postgres.kill('SIGKILL');

    // Meanwhile the devices finish, and say so to a gateway that cannot hand it to anybody.
    const ask = () =>
      fetch(`${deployment.server}/v1/commands`, {
        method: 'POST',
        headers: { authorization: `Bearer ${deployment.token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ type: 'sync', target: { all: true } }),
      });
    const refused = await ask();
    assert.is(refused.status, 503);
    assert.is(refused.headers.get('retry-after'), '5');
    // The server looks once more before it says so.
    const ready = await waitFor(async () => {
      const told = (await (await fetch(`${deployment.server}/ready`)).json()) as Ready;
      return told.ready ? undefined : told;
    });
    assert.equal([ready.dependencies.store?.ok, ready.dependencies.bus?.ok], [false, true]);
    assert.ok(ready.dependencies.store?.reason);
    assert.is((await fetch(`${deployment.server}/live`)).status, 200);
    await waitFor(() => devices.every((device) => device.runs.get(running.id)?.completed === 1), {
      timeoutMs: 20_000,
    });
    assert.ok(devices.every((device) => device.connected));

    await deployment.postgres.restart();
    await waitFor(async () => (await fetch(`${deployment.server}/ready`)).status === 200, {
      timeoutMs: 20_000,
    });
    assert.is((await operator.finished(running.id, 60_000)).counts.succeeded, 6);
    const next = await operator.send('statistics', devices, { all: true });
    assert.is((await operator.finished(next.id)).counts.succeeded, 6);
  },
);

test.run();
