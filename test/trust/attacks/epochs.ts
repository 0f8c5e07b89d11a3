/** What an old copy of the database may still do. */
import { cp, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { adminFlags } from '../../deployment/flags.ts';
import { startCli } from '../../services/processes.ts';
import { freePort, waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import { gatewayEntry } from '../directory-entries.ts';
import type { World } from '../world.ts';

async function restored({ lab }: World): Promise<void> {
  const { folder, redis } = lab.deployment;
  const program = startCli(['restored', '--data-dir', join(folder, 'data'), '--redis-url', redis.url]);
  const { code } = await program.exited;
  await program.stop();
  if (code !== 0) throw new Error(`restored: ${program.output}`);
}

/** Somebody starts a server on this copy; whether it serves. */
async function serves({ lab }: World, dataDir: string, whyNot: string): Promise<boolean> {
  const { folder, redis } = lab.deployment;
  const port = await freePort();
  const flags = [...adminFlags({ dataDir, port }), '--redis-url', redis.url];
  const program = startCli(['admin', ...flags], { cwd: folder });
  try {
    return await waitFor(
      async () => {
        if (program.output.includes(whyNot)) return 'refuses';
        const answer = await fetch(`http://127.0.0.1:${port}/ready`);
        return (await answer.text()).includes(whyNot) ? 'refuses' : answer.status === 200 && 'serves';
      },
      { timeoutMs: 20_000, what: 'the old server to serve or to say why not' },
    ).then((found) => found === 'serves');
  } finally {
    await program.stop(2_000);
  }
}

function oldDatabase(
  { name, rules, title }: Pick<Attack, 'name' | 'rules' | 'title'>,
  whyNot: string,
  /** Copies the database into `old`, and makes a change after which the copy is old. */
  grow: (world: World, old: string) => Promise<unknown>,
): Attack {
  return {
    ...{ name, by: 'redis', rules, title },
    async stage(world) {
      const old = await mkdtemp(join(world.lab.deployment.folder, 'old-'));
      await grow(world, old);
      let itServes = false;
      return {
        attack: async () => {
          itServes = await serves(world, old, whyNot);
        },
        control: () => world.reaches(world.bystander),
        judge: async () => (itServes ? 'a server on the old copy works for the fleet' : null),
      };
    },
  };
}

export const EPOCHS: readonly Attack[] = [
  oldDatabase(
    {
      name: 'old-database-and-keys',
      rules: 'K-3',
      title: 'who has a copy of the database from before the server keys changed starts a server on it',
    },
    'it is an older copy',
    async ({ lab, redis }, old) => {
      const data = join(lab.deployment.folder, 'data');
      await lab.deployment.backUp(join(old, 'pushpoint.db'));
      await cp(join(data, 'secrets.key'), join(old, 'secrets.key'));
      const newest = async () => Buffer.from((await gatewayEntry(redis, 'gw1')).keys?.at(-1)?.body ?? []);
      const before = await newest();
      await lab.operator.api.request('POST', '/v1/keys/rotation');
      await waitFor(async () => !(await newest()).equals(before), {
        what: 'gateways to carry the next keys',
      });
    },
  ),
  oldDatabase(
    {
      name: 'old-database',
      rules: 'S-7',
      title: 'who has an old copy of the database starts a server on it beside the fleet',
    },
    'and epoch 2 was in use',
    async (world, old) => {
      const { deployment } = world.lab;
      await deployment.end('admin');
      await cp(join(deployment.folder, 'data'), old, { recursive: true });
      await restored(world);
      await deployment.start('admin');
    },
  ),
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
