/** Programs that would be a gateway of the installation, with tokens and certificates that are none. */
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Attacker } from '../attackers/attacker.ts';
import type { JoinOutcome } from '../attackers/join-moves.ts';
import { joinGateway, joinToken } from '../joining.ts';
import type { World } from '../world.ts';

const NAME = 'gw6';
/** Gateways whose certificates are good no more. */
export const REVOKED = 'gw7';
export const EXPIRED = 'gw8';
const EARLIER = '2000-01-01T00:00:00.000Z';

/** An attacker asks to be let in; another gateway joins after it. */
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
        judge: async () => (outcome === 'joined' ? 'the server certified the attacker' : null),
      };
    },
  };
}

async function joined({ lab }: World, token?: string) {
  return joinGateway(lab, NAME, token ?? (await joinToken(lab, NAME)));
}

const revoke = ({ lab }: World, name: string) =>
  lab.operator.api.request('POST', `/v1/gateways/${name}/revoke`);

/** Has the files of a gateway that was revoked; one for all attacks. */
export function revoked(world: World): Promise<Attacker> {
  return world.once(REVOKED, async () => {
    const { attacker } = await world.stolenAfterJoining(REVOKED);
    await revoke(world, REVOKED);
    return attacker;
  });
}

/** The same of a gateway whose certificate ran out. */
export function expired(world: World): Promise<Attacker> {
  return world.once(EXPIRED, async () => {
    const { attacker } = await world.stolenAfterJoining(EXPIRED);
    const ends = 'update gateway_certificates set expires_at = ? where gateway = ?';
    world.database.change(ends, Date.parse(EARLIER), EXPIRED);
    return attacker;
  });
}

/** A certificate that was stolen, and is good no more, asks for the next one. */
function renewing(
  { name, title }: Pick<Attack, 'name' | 'title'>,
  attackerOf: (world: World) => Promise<Attacker>,
): Attack {
  return joining({ name, by: 'gateway', title }, async (world) => {
    const attacker = await attackerOf(world);
    return () => attacker.make('renew');
  });
}

export const JOINS: readonly Attack[] = [
  joining(
    {
      name: 'join-token-reused',
      by: 'network',
      title: 'who found the join token of a gateway that has joined joins with it again',
    },
    async (world) => {
      const token = await joinToken(world.lab, NAME);
      await joined(world, token);
      return () => world.redis.make('join', NAME, token);
    },
  ),
  joining(
    {
      name: 'join-token-guessed',
      by: 'redis',
      title: 'who reads the id of a join token in Redis joins with a seed of its own',
    },
    async (world) => {
      const [head, id, seed, fingerprint] = (await joinToken(world.lab, NAME)).split('.');
      const guessed = [
        head,
        id,
        Buffer.from(seed ?? '', 'base64url')
          .reverse()
          .toString('base64url'),
        fingerprint,
      ];
      return () => world.redis.make('join', NAME, guessed.join('.'));
    },
  ),
  joining(
    {
      name: 'join-token-expired',
      by: 'network',
      title: 'who found a join token joins with it after its time',
    },
    async (world) => {
      const token = await joinToken(world.lab, NAME);
      const ends = 'update join_tokens set expires_at = ? where id = ?';
      world.database.change(ends, Date.parse(EARLIER), token.split('.')[1] ?? '');
      return () => world.redis.make('join', NAME, token);
    },
  ),
  joining(
    {
      name: 'join-token-of-another',
      by: 'network',
      title: 'who found a join token joins with it under the name of another gateway',
    },
    async (world) => {
      const token = await joinToken(world.lab, NAME);
      return () => world.redis.make('join', 'gw1', token);
    },
  ),
  joining(
    {
      name: 'replayed-join',
      by: 'redis',
      title: 'who writes to Redis leaves the request of a gateway again that was revoked since',
    },
    async (world) => {
      const token = await joinToken(world.lab, NAME);
      // So that the request stays there until it was read.
      world.lab.deployment.freeze('admin');
      const done = joined(world, token);
      const request = await world.redis
        .make('requestToJoin')
        .finally(() => world.lab.deployment.thaw('admin'));
      await done;
      await revoke(world, NAME);
      return () => world.redis.make('joinAgain', request);
    },
  ),
  renewing({ name: 'revoked-renews', title: 'a gateway that was revoked renews its certificate' }, revoked),
  renewing({ name: 'expired-renews', title: 'a gateway renews a certificate that ran out' }, expired),
  {
    name: 'join-answered',
    by: 'redis',
    rules: 'S-9, K-2',
    title: 'who writes to Redis lets a gateway in that asks to join, to an installation of its own',
    async stage(world) {
      const { lab } = world;
      const token = await joinToken(lab, NAME);
      let [answers, outcome] = [0, null as string | null];
      let joins: Promise<unknown> = Promise.resolve();
      return {
        async attack() {
          // It withholds the request as well.
          lab.deployment.freeze('admin');
          try {
            joins = joinGateway(lab, NAME, token, () => answers++).then(({ identity }) => {
              outcome = identity.serial;
            });
            joins.catch(() => undefined);
            await world.redis.make('answerJoin');
            await waitFor(() => answers > 0, { what: 'the gateway to find the answer' });
            // It asks again when it does not believe it.
            await Promise.race([joins, world.redis.make('requestToJoin')]);
          } finally {
            lab.deployment.thaw('admin');
          }
        },
        control: async () => void (await joins),
        async judge() {
          const { items } = await lab.operator.api.get<{ items: { serial: string }[] }>(
            `/v1/gateways/${NAME}/certificates`,
          );
          return items.some(({ serial }) => serial === outcome) ? null : 'the gateway joined the attacker';
        },
      };
    },
  },
];
