/**
 * Attackers who would be an administration server: who joins as one gets the key of the installation's
 * secrets.
 */
import { serverSubject } from '../../../bus/subjects.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { JoinOutcome, LeftRequest } from '../attackers/join-moves.ts';
import { joinGateway, joinToken, serverToken } from '../joining.ts';
import type { World } from '../world.ts';

const NAME = 'admin6';
const SUBJECT = serverSubject(NAME);
const EARLIER = '2000-01-01T00:00:00.000Z';

async function joined({ lab }: World, token?: string) {
  const made = await joinGateway(lab, SUBJECT, token ?? (await serverToken(lab, NAME)));
  if (made.secretsKey === null) throw new Error('the server got no key of the secrets');
  return made;
}

/** An attacker asks to be let in; another server joins after it. */
function joining(
  { name, by, title }: Pick<Attack, 'name' | 'by' | 'title'>,
  prepare: (world: World) => Promise<() => Promise<JoinOutcome>>,
): Attack {
  return {
    ...{ name, by, rules: 'S-9', title },
    async stage(world) {
      const ask = await prepare(world);
      let outcome: JoinOutcome = 'dropped';
      return {
        attack: async () => {
          outcome = await ask();
        },
        control: async () => void (await joined(world)),
        judge: async () => (outcome === 'joined' ? 'the attacker has the key of the secrets' : null),
      };
    },
  };
}

/** The request of an honest server, as it stood in Redis. */
async function requestWith(world: World, token: string): Promise<LeftRequest> {
  // So that the request stays there until it was read.
  world.lab.deployment.freeze('admin');
  const done = joined(world, token);
  const request = await world.redis.make('requestToJoin').finally(() => world.lab.deployment.thaw('admin'));
  await done;
  return request;
}

export const SERVERS: readonly Attack[] = [
  joining(
    {
      name: 'server-token-reused',
      by: 'network',
      title: 'who found the join token of a server that has joined joins with it again',
    },
    async (world) => {
      const token = await serverToken(world.lab, NAME);
      await joined(world, token);
      return () => world.redis.make('join', SUBJECT, token);
    },
  ),
  joining(
    {
      name: 'server-token-resealed',
      by: 'redis',
      title:
        'who found the join token of a server that has joined, and read its request in Redis, repeats the ' +
        'request with a key of its own to seal the answer to',
    },
    async (world) => {
      const token = await serverToken(world.lab, NAME);
      const request = await requestWith(world, token);
      return () => world.redis.make('reseal', request, token);
    },
  ),
  joining(
    {
      name: 'server-token-forged',
      by: 'redis',
      title: 'who reads the id of a join token of a server in Redis joins with a seed of its own',
    },
    async (world) => {
      const [head, id, seed, fingerprint] = (await serverToken(world.lab, NAME)).split('.');
      const own = Buffer.from(seed ?? '', 'base64url')
        .reverse()
        .toString('base64url');
      return () => world.redis.make('join', SUBJECT, [head, id, own, fingerprint].join('.'));
    },
  ),
  joining(
    {
      name: 'server-token-expired',
      by: 'network',
      title: 'who found a join token of a server joins with it after its time',
    },
    async (world) => {
      const token = await serverToken(world.lab, NAME);
      const ends = 'update join_tokens set expires_at = ? where id = ?';
      world.database.change(ends, Date.parse(EARLIER), token.split('.')[1] ?? '');
      return () => world.redis.make('join', SUBJECT, token);
    },
  ),
  joining(
    {
      name: 'gateway-token-as-server',
      by: 'network',
      title: 'who found the join token of a gateway joins with it as an administration server',
    },
    async (world) => {
      const token = await joinToken(world.lab, NAME);
      return () => world.redis.make('join', SUBJECT, token);
    },
  ),
  joining(
    {
      name: 'gateway-renews-as-server',
      by: 'gateway',
      title: 'who stole a gateway renews its certificate as that of an administration server',
    },
    async (world) => () => world.gateway.make('renew', serverSubject('gw2')),
  ),
  {
    name: 'server-join-answered',
    by: 'redis',
    rules: 'S-9, K-2',
    title: 'who writes to Redis gives a server that joins a key of its own to encrypt the secrets with',
    async stage(world) {
      const { lab } = world;
      const genuine = await joined(world);
      const token = await serverToken(lab, NAME);
      let answers = 0;
      let joins: ReturnType<typeof joinGateway> | undefined;
      return {
        async attack() {
          // It withholds the request as well.
          lab.deployment.freeze('admin');
          try {
            joins = joinGateway(lab, SUBJECT, token, () => answers++);
            joins.catch(() => undefined);
            await world.redis.make('answerJoin');
            await waitFor(() => answers > 0, { what: 'the server to find the answer' });
            // It asks again when it does not believe it.
            await Promise.race([joins, world.redis.make('requestToJoin')]);
          } finally {
            lab.deployment.thaw('admin');
          }
        },
        control: async () => void (await joins),
        async judge() {
          const key = (await joins)?.secretsKey;
          const isGenuine = key && Buffer.from(key).equals(genuine.secretsKey ?? new Uint8Array());
          return isGenuine ? null : 'the server encrypts with a key of the attacker';
        },
      };
    },
  },
];
