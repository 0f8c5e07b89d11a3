import type { Holder, Presence, PresenceClaim } from '../bus.ts';
import type { Commands } from './commands.ts';
import { FIELD_LAST_SESSION, type Keys, perShard } from './keys.ts';
import { SCRIPTS } from './scripts/index.ts';

export class RedisPresence implements Presence {
  readonly #commands: Commands;
  readonly #keys: Keys;

  constructor(commands: Commands, keys: Keys) {
    this.#commands = commands;
    this.#keys = keys;
  }

  async claim(
    incarnation: string,
    claims: readonly PresenceClaim[],
  ): Promise<({ session: number; previous?: Holder } | null)[]> {
    const results = new Array<{ session: number; previous?: Holder } | null>(claims.length);
    await perShard(
      claims.map(({ device }) => device),
      async (shard, indices) => {
        const args = indices.flatMap((index) => {
          const claim = claims[index] as PresenceClaim;
          return [claim.device, claim.heldSession ?? ''];
        });
        const answer = (await this.#commands.run(
          SCRIPTS.claimPresence,
          [this.#keys.presence(shard)],
          [incarnation, FIELD_LAST_SESSION, ...args],
        )) as Buffer[];
        for (const [at, index] of indices.entries()) {
          const [session, previous, previousSession] = answer.slice(at * 3, at * 3 + 3).map(String);
          results[index] = !session
            ? null
            : {
                session: Number(session),
                ...(previous && { previous: { incarnation: previous, session: Number(previousSession) } }),
              };
        }
      },
    );
    return results;
  }

  async release(
    incarnation: string,
    sessions: readonly { device: string; session: number }[],
  ): Promise<void> {
    await perShard(
      sessions.map(({ device }) => device),
      async (shard, indices) => {
        const args = indices.flatMap((index) => {
          const { device, session } = sessions[index] as { device: string; session: number };
          return [device, `${incarnation} ${session}`];
        });
        await this.#commands.run(SCRIPTS.releasePresence, [this.#keys.presence(shard)], args);
      },
    );
  }

  async locate(devices: readonly string[]): Promise<(Holder | null)[]> {
    const results = new Array<Holder | null>(devices.length);
    await perShard(devices, async (shard, indices) => {
      const fields = indices.map((index) => devices[index] as string);
      const values = await this.#commands.do((client) => client.hmget(this.#keys.presence(shard), ...fields));
      for (const [at, index] of indices.entries()) {
        const [incarnation, session] = values[at]?.split(' ') ?? [];
        results[index] = incarnation ? { incarnation, session: Number(session) } : null;
      }
    });
    return results;
  }
}
