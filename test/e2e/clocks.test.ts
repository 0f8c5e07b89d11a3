/** Programs whose own clocks are hours off: they go by the clock that all share, and say what is wrong. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { waitFor } from '../wait.ts';
import { Lab } from './lab.ts';

const HOUR = 3_600_000;

interface Ready {
  ready: boolean;
  dependencies: { clocks: { warnings?: string[] } };
}

for (const [whose, clocks] of Object.entries({
  'the administration server is two hours behind': { admin: -2 * HOUR },
  'the administration server is two hours ahead': { admin: 2 * HOUR },
  'a gateway is two hours ahead': { gw1: 2 * HOUR },
})) {
  test(`S-5: commands run, and end when they should, where the clock of ${whose}`, async () => {
    const lab = await Lab.start({ bus: 'redis', gateways: 1, clocks });
    try {
      const { deployment, operator } = lab;
      const devices = await lab.fleet(3);
      const sync = await operator.send('sync', devices, { all: true, ttl: 600, timeout: 600 });
      const { counts, issuedAt } = await operator.finished(sync.id, 30_000);
      assert.is(counts.succeeded, 3, JSON.stringify(counts));
      assert.ok(Math.abs(Date.parse(issuedAt) - Date.now()) < HOUR / 2, 'issued by the clock that all share');
      const [gone] = devices;
      if (!gone) throw new Error('no device');
      await lab.away(gone);
      const expires = await operator.send('sync', [gone], { ttl: 2 });
      assert.is((await operator.reaches(expires.id, gone, 'expired')).reason, 'not delivered in time');
      const told = async () => {
        const answer = await fetch(`${deployment.server}/ready`);
        return { status: answer.status, body: (await answer.json()) as Ready };
      };
      const warned = await waitFor(async () => {
        const { status, body } = await told();
        return 'admin' in clocks && !body.dependencies.clocks.warnings ? undefined : { status, body };
      });
      assert.is(warned.status, 200);
      if ('admin' in clocks) assert.match(warned.body.dependencies.clocks.warnings?.[0] ?? '', /7200\.\d s/);
      const { warnings } = await operator.api.get<{ warnings: string[] }>('/v1/status');
      assert.is(
        warnings.some((warning) => warning.includes('the clock of this administration server')),
        'admin' in clocks,
      );
      const metrics = await (await fetch(`${deployment.server}/metrics`)).text();
      const ahead = Number(/pushpoint_admin_clock_ahead_seconds\{clock="server"\} (\S+)/.exec(metrics)?.[1]);
      assert.is(Math.round(ahead / 10), 'admin' in clocks ? Math.round(clocks.admin / 10_000) : 0);
    } catch (error) {
      console.error(lab.deployment.lastWords());
      throw error;
    } finally {
      await lab.stop();
    }
  });
}

test.run();
