/** What an old copy of the database may still do. */
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { adminFlags } from '../../deployment/flags.ts';
import { startCli } from '../../services/processes.ts';
import { freePort, waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { World } from '../world.ts';

async function restored({ lab }: World): Promise<void> {
  const { folder, redis } = lab.deployment;
  const program = startCli(['restored', '--data-dir', join(folder, 'data'), '--redis-url', redis.url]);
  const { code } = await program.exited;
  await program.stop();
  if (code !== 0) throw new Error(`restored: ${program.output}`);
}

export const EPOCHS: readonly Attack[] = [
  {
    name: 'old-database',
    by: 'redis',
    rules: 'S-7',
    title: 'who has an old copy of the database starts a server on it beside the fleet',
    async stage(world) {
      const { deployment } = world.lab;
      const [data, old] = [join(deployment.folder, 'data'), join(deployment.folder, 'old')];
      await deployment.end('admin');
      await cp(data, old, { recursive: true });
      await restored(world);
      await deployment.start('admin');
      const port = await freePort();
      const flags = [...adminFlags({ dataDir: old, port }), '--redis-url', deployment.redis.url];
      let status = 0;
      return {
        async attack() {
          const program = startCli(['admin', ...flags], { cwd: deployment.folder });
          try {
            await waitFor(
              async () => {
                const answer = await fetch(`http://127.0.0.1:${port}/ready`);
                const said = await answer.text();
                status = answer.status;
                return status === 200 || said.includes('and epoch 2 was in use');
              },
              { timeoutMs: 20_000, what: 'the old server to serve or to say why not' },
            );
          } finally {
            await program.stop(2_000);
          }
        },
        control: () => world.reaches(world.bystander),
        judge: async () => (status === 200 ? 'a server on the old copy works for the fleet' : null),
      };
    },
  },
  {
    name: 'raised-epoch',
    by: 'redis',
    rules: 'S-7',
    title: 'who writes to Redis writes the highest epoch there can be, so that every database is older',
    async stage(world) {
      const ready = async () => (await fetch(`${world.lab.deployment.server}/ready`)).status === 200;
      let held = false;
      return {
        async attack() {
          await world.writeEpoch(Number.MAX_SAFE_INTEGER);
          await waitFor(
            async () => {
              held = !(await ready());
              return held || (await world.readEpoch()) !== Number.MAX_SAFE_INTEGER;
            },
            { timeoutMs: 20_000, what: 'the server to see it' },
          );
        },
        control: async () => {
          if (!held) await world.reaches(world.bystander);
        },
        judge: async () => (held ? 'the administration server is held' : null),
      };
    },
  },
];
