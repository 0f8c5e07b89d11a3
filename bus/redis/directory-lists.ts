/** The signed lists of gateways: one hash, with a mark beside them that says which they are. */
import { BusUnavailable, type DirectoryList } from '../bus.ts';
import { FIELD_MARK, type Keys, MAX_PER_COMMAND } from './keys.ts';
import type { OwnCommands, RedisOwner } from './owner.ts';
import type { Subscriptions } from './subscriptions.ts';

export interface RedisListsParts {
  commands: OwnCommands;
  subscriptions: Subscriptions;
  keys: Keys;
  owner: RedisOwner;
}

export class RedisLists {
  readonly #with: RedisListsParts;

  constructor(parts: RedisListsParts) {
    this.#with = parts;
  }

  async put(lists: readonly DirectoryList[]): Promise<void> {
    const { commands, keys } = this.#with;
    for (const some of chunksOf(lists)) {
      const pairs = some.flatMap(({ group, frame }): (string | Buffer)[] => [group, Buffer.from(frame)]);
      await commands.do(keys.lists, (client) => client.hset(keys.lists, ...pairs));
    }
  }

  async mark(mark: string, groups: ReadonlySet<string>): Promise<void> {
    const { commands, keys, subscriptions } = this.#with;
    const fields = await commands.do(keys.lists, (client) => client.hkeys(keys.lists));
    const gone = fields.filter((field) => field !== FIELD_MARK && !groups.has(field));
    for (const some of chunksOf(gone)) {
      await commands.do(keys.lists, (client) => client.hdel(keys.lists, ...some));
    }
    const value = `${this.#installation()} ${mark}`;
    const marked = commands.do(keys.lists, (client) => client.hset(keys.lists, FIELD_MARK, value));
    await Promise.all([marked, subscriptions.publish(commands, keys.gatewaysHint)]);
  }

  async readMark(): Promise<string | null> {
    const { commands, keys, owner } = this.#with;
    const value = await commands.do(keys.lists, (client) => client.hget(keys.lists, FIELD_MARK));
    const own = `${owner.current?.id} `;
    return value?.startsWith(own) ? value.slice(own.length) : null;
  }

  async read(groups: readonly string[]): Promise<(DirectoryList | null)[]> {
    const { commands, keys } = this.#with;
    const lists: (DirectoryList | null)[] = [];
    for (const some of chunksOf(groups)) {
      const frames = await commands.do(keys.lists, (client) => client.hmgetBuffer(keys.lists, ...some));
      for (const [index, frame] of frames.entries()) {
        lists.push(frame ? { group: some[index] as string, frame } : null);
      }
    }
    return lists;
  }

  #installation(): string {
    const { current } = this.#with.owner;
    if (current === null) throw new BusUnavailable('the installation of this Redis is not known yet');
    return current.id;
  }
}

function chunksOf<T>(items: readonly T[]): T[][] {
  const count = Math.ceil(items.length / MAX_PER_COMMAND);
  return Array.from({ length: count }, (_, i) => items.slice(i * MAX_PER_COMMAND, (i + 1) * MAX_PER_COMMAND));
}
