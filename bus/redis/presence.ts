import type { Holder, Presence, PresenceClaim } from '../bus.ts';
import { FIELD_LAST_SESSION, type Keys, MAX_PER_COMMAND, perShard } from './keys.ts';
import type { OwnCommands } from './owner.ts';
import { SCRIPTS } from './scripts/index.ts';

export class RedisPresence implements Presence {
  readonly #commands: OwnCommands;
  readonly #keys: Keys;
  /** Where the next sweep continues. */
  #swept = { shard: 0, cursor: '0' };

  constructor(commands: OwnCommands, keys: Keys) {
    this.#commands = commands;
    this.#keys = keys;
  }

  async claim(
    incarnation: string,
    claims: readonly PresenceClaim[],
  ): Promise<({ session: number; previous?: Holder } | null)[]> {
    const results = new Array<{ session: number; previous?: Holder } | null>(claims.length);
    await perShard(
      this.#keys,
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
      this.#keys,
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
    await perShard(this.#keys, devices, async (shard, indices) => {
      const fields = indices.map((index) => devices[index] as string);
      const values = await this.#commands.do(this.#keys.presence(shard), (client) =>
        client.hmget(this.#keys.presence(shard), ...fields),
      );
      for (const [at, index] of indices.entries()) {
        const [incarnation, session] = values[at]?.split(' ') ?? [];
        results[index] = incarnation ? { incarnation, session: Number(session) } : null;
      }
    });
    return results;
  }

  async sweep(limit: number): Promise<number> {
    const { shard, cursor } = this.#swept;
    const key = this.#keys.presence(shard);
    const [next, pairs] = await this.#commands.do(key, (client) => client.hscan(key, cursor, 'COUNT', limit));
    this.#swept =
      next === '0' ? { shard: (shard + 1) % this.#keys.shards, cursor: '0' } : { shard, cursor: next };
    const args: string[] = [];
    const alive = new Map<string, Promise<boolean>>();
    for (let index = 0; index + 1 < pairs.length; index += 2) {
      const [device, holder] = [pairs[index] as string, pairs[index + 1] as string];
      const [incarnation] = holder.split(' ');
      if (device === FIELD_LAST_SESSION || incarnation === undefined) continue;
      if (!alive.has(incarnation)) alive.set(incarnation, this.#isAlive(incarnation));
      if (!(await alive.get(incarnation))) args.push(device, holder);
    }
    let removed = 0;
    for (let start = 0; start < args.length; start += 2 * MAX_PER_COMMAND) {
      const part = args.slice(start, start + 2 * MAX_PER_COMMAND);
      removed += Number(await this.#commands.run(SCRIPTS.releasePresence, [key], part));
    }
    return removed;
  }

  #isAlive(incarnation: string): Promise<boolean> {
    const key = this.#keys.lease(incarnation);
    return this.#commands.do(key, async (client) => (await client.exists(key)) === 1);
  }
}
