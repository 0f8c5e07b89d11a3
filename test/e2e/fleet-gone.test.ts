import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { StatusDocument } from '../../admin-api/http/schemas/operations.ts';
import { waitFor } from '../wait.ts';
import { withLab } from './lab.ts';

const { testLab } = withLab({ bus: 'memory' });

interface Ready {
  ready: boolean;
  dependencies: { fleet?: { ok: boolean; warnings?: string[] } };
}

testLab('no device where twenty were is a warning in health, status and metrics', async (lab) => {
  const { deployment, operator } = lab;
  const metrics = async () => (await fetch(`${deployment.server}/metrics`)).text();
  const warnings = async () => (await operator.api.get<StatusDocument>('/v1/status')).warnings;
  const devices = await lab.fleet(20);
  await waitFor(async () => /^pushpoint_admin_devices_connected 20$/m.test(await metrics()));
  assert.equal(await warnings(), []);
  await Promise.all(devices.map((device) => device.stop()));
  await waitFor(async () => /^pushpoint_admin_fleet_gone 1$/m.test(await metrics()));
  assert.match((await warnings())[0] ?? '', /^no device is connected, and 20 were on /);
  const { ready, dependencies } = (await (await fetch(`${deployment.server}/ready`)).json()) as Ready;
  assert.ok(ready);
  assert.is(dependencies.fleet?.warnings?.length, 1);
  await lab.connect(devices);
  await waitFor(async () => /^pushpoint_admin_fleet_gone 0$/m.test(await metrics()));
  assert.equal(await warnings(), []);
});

test.run();
