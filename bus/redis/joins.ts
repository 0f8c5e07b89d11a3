import { JOINS, type JoinRequested, type Joins } from '../bus.ts';
import type { Keys } from './keys.ts';
import type { OwnCommands } from './owner.ts';
import { SCRIPTS } from './scripts/index.ts';

const ID = /^[0-9a-f]{64}$/;

export class RedisJoins implements Joins {
  readonly #commands: OwnCommands;
  readonly #keys: Keys;

  constructor(commands: OwnCommands, keys: Keys) {
    this.#commands = commands;
    this.#keys = keys;
  }

  async ask(id: string, request: Uint8Array): Promise<'asked' | 'full'> {
    if (request.length > JOINS.requestBytesMax) throw new RangeError('the request to join is too long');
    const answer = await this.#commands.run(
      SCRIPTS.askToJoin,
      [this.#keys.joins, this.#keys.joinTimes],
      [id, Buffer.from(request), JOINS.requestsMax, JOINS.keptMs],
    );
    return answer === 1 ? 'asked' : 'full';
  }

  /** Others may have written anything of any size: this fetches no more than the bounds allow. */
  async waiting(): Promise<JoinRequested[]> {
    const { joins, joinTimes } = this.#keys;
    const oldest = await this.#commands.do(joinTimes, (client) =>
      client.zrange(joinTimes, '0', String(JOINS.requestsMax - 1)),
    );
    const found = await Promise.all(
      oldest.filter((id) => ID.test(id)).map((id) => this.#requestOf(joins, id)),
    );
    return found.filter((request) => request !== null);
  }

  async answer(id: string, answer: Uint8Array): Promise<void> {
    const key = this.#keys.joinAnswer(id);
    await this.#commands.do(key, (client) => client.set(key, Buffer.from(answer), 'PX', JOINS.keptMs));
    await this.drop([id]);
  }

  async drop(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    const { joins, joinTimes } = this.#keys;
    await Promise.all([
      this.#commands.do(joins, (client) => client.hdel(joins, ...ids)),
      this.#commands.do(joinTimes, (client) => client.zrem(joinTimes, ...ids)),
    ]);
  }

  async answerTo(id: string): Promise<Uint8Array | null> {
    const key = this.#keys.joinAnswer(id);
    return this.#commands.do(key, (client) => client.getBuffer(key));
  }

  async #requestOf(joins: string, id: string): Promise<JoinRequested | null> {
    const bytes = await this.#commands.do(joins, (client) => client.hstrlen(joins, id));
    if (bytes === 0 || bytes > JOINS.requestBytesMax) {
      await this.drop([id]);
      return null;
    }
    const request = await this.#commands.do(joins, (client) => client.hgetBuffer(joins, id));
    return request === null || request.length > JOINS.requestBytesMax ? null : { id, request };
  }
}
