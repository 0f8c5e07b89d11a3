import * as assert from 'uvu/assert';
import { waitFor } from '../wait.ts';
import type { LabTests } from './lab.ts';

interface Ready {
  ready: boolean;
  dependencies: Record<string, { ok: boolean; since: string }>;
}

function trip(worker: string): RegExp {
  return new RegExp(`pushpoint_admin_canary_round_trip_seconds\\{worker="${worker}"\\} ([\\d.e-]+)`);
}

function age(worker: string): RegExp {
  return new RegExp(`pushpoint_admin_canary_age_seconds\\{worker="${worker}"\\} ([\\d.e-]+)`);
}

export function canaryRules({ testLab }: LabTests): void {
  testLab(
    'every worker answers its canary, over and over, and it is to be seen in health and metrics only',
    async (lab) => {
      const { deployment, operator } = lab;
      const metrics = async () => (await fetch(`${deployment.server}/metrics`)).text();
      const value = (text: string, pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? Number.NaN);
      const gateways = (await operator.gateways()).items;
      const workers = gateways.flatMap((gateway) => gateway.workers.map(({ worker }) => worker));
      assert.ok(workers.length > 0);
      await waitFor(
        async () => {
          const text = await metrics();
          return workers.every((worker) => value(text, trip(worker)) > 0 && value(text, age(worker)) < 5);
        },
        { timeoutMs: 30_000, what: 'round trips of every worker' },
      );
      const count = async () => value(await metrics(), /pushpoint_admin_canary_seconds_count (\d+)/);
      const before = await count();
      await waitFor(async () => (await count()) >= before + 3 * workers.length);

      const ready = (await (await fetch(`${deployment.server}/ready`)).json()) as Ready;
      assert.equal([ready.ready, ready.dependencies.canary?.ok], [true, true]);
      const status = await operator.api.get<{
        devices: { total: number; connected: number };
        openCommands: number;
      }>('/v1/status');
      assert.equal([status.devices, status.openCommands], [{ total: 0, connected: 0 }, 0]);
      assert.equal((await operator.api.get<{ items: unknown[] }>('/v1/devices')).items, []);
      assert.equal((await operator.api.get<{ items: unknown[] }>('/v1/commands')).items, []);
      for (const gateway of (await operator.gateways()).items) {
        assert.equal([gateway.connections, gateway.connectedOnRecord, gateway.load.connections], [0, 0, 0]);
      }
    },
  );
}
