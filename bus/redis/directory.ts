import { nanoid } from 'nanoid';
import {
  BusUnavailable,
  type Directory,
  type DirectoryDevice,
  type DirectoryGateway,
  DirectoryIncomplete,
  type DirectoryList,
  type DirectoryState,
  type DirectoryWriting,
  type Installation,
} from '../bus.ts';
import { decode, encode } from '../encoding.ts';
import type { Client } from './client.ts';
import { decodeDevice, encodeDevice, GENERATION_LENGTH } from './directory-entry.ts';
import { RedisLists } from './directory-lists.ts';
import {
  type Mark,
  parseLook,
  parseMark,
  type ShardLook,
  ShardMemory,
  whyNotOwn,
} from './directory-shard.ts';
import { lost, RedisDirectoryWriting } from './directory-writing.ts';
import type { Histories } from './histories.ts';
import { FIELD_MARK, FIELD_OWNER, type Keys, MAX_PER_SCRIPT, perShard } from './keys.ts';
import type { OwnCommands, RedisOwner } from './owner.ts';
import type { Script } from './script.ts';
import { SCRIPTS } from './scripts/index.ts';
import type { Subscriptions } from './subscriptions.ts';

/** A full write without progress for this long may be replaced by another server's, milliseconds. */
const GIVEN_UP_MS = 10_000;

export interface RedisDirectoryParts {
  commands: OwnCommands;
  subscriptions: Subscriptions;
  keys: Keys;
  histories: Histories;
  owner: RedisOwner;
}

/**
 * Each shard's hash carries a mark beside the devices, so that one command answers both "which device" and
 * "is this shard whole, and whose": a shard that was lost never looks like one without the device.
 */
export class RedisDirectory implements Directory {
  readonly #with: RedisDirectoryParts;
  readonly #memories: readonly ShardMemory[];
  readonly #lists: RedisLists;
  /** Generation of the last full write begun here: a failed one may restart at once. */
  #lastWriting = '';

  constructor(parts: RedisDirectoryParts) {
    this.#with = parts;
    this.#lists = new RedisLists(parts);
    this.#memories = Array.from({ length: parts.keys.shards }, () => new ShardMemory());
  }

  async look(): Promise<DirectoryState> {
    const shards = await Promise.all(
      this.#memories.map(async (_, shard) =>
        parseLook((await this.#run(shard, SCRIPTS.lookDirectory, [])) as Buffer[]),
      ),
    );
    const problems = shards.map((look, shard) => this.#problemOf(look, shard));
    const problem = problems.find((each) => each !== null);
    return {
      generation: problem === undefined ? (shards[0]?.mark?.generation ?? null) : null,
      devices: shards.reduce((sum, { devices }) => sum + devices, 0),
      writing: shards.some(({ writing }) => writing),
      ...(problem && { problem: problem.text }),
      ...(problems.some((each) => each?.altered) && { altered: true as const }),
    };
  }

  async begin({ clear = false } = {}): Promise<DirectoryWriting | null> {
    const { owner } = this.#with;
    const installation = owner.current;
    if (installation === null) throw new BusUnavailable('nobody claimed this Redis yet');
    const histories = this.#memories.map((_, shard) => this.#historyOf(shard) ?? '');
    const generation = nanoid(GENERATION_LENGTH);
    const before = this.#lastWriting;
    const begin = async (shard: number, givenUpMs: number) =>
      Number(
        await this.#run(shard, SCRIPTS.beginDirectory, [
          ...[installation.id, generation, String(givenUpMs), clear ? '1' : '', before],
        ]),
      );
    // The owner of the first shard owns all of them.
    if ((await begin(0, GIVEN_UP_MS)) === 0) return null;
    this.#lastWriting = generation;
    await Promise.all(this.#memories.map((_, shard) => (shard === 0 ? 1 : begin(shard, 0))));
    return new RedisDirectoryWriting({
      ...{ generation, installation, histories },
      run: (shard, script, args) => this.#run(shard, script, args),
      put: (devices, token) => this.#write(installation, token, devices, []),
    });
  }

  async vouch(generation: string, ttlMs: number): Promise<void> {
    const { commands, keys, owner } = this.#with;
    const value = `${owner.current?.id} ${generation}`;
    await commands.do(keys.directoryVouched, (client) =>
      client.set(keys.directoryVouched, value, 'PX', ttlMs),
    );
  }

  putDevices(devices: readonly DirectoryDevice[]): Promise<void> {
    return this.#write(this.#installation(), '', devices, []);
  }

  removeDevices(ids: readonly string[]): Promise<void> {
    return this.#write(this.#installation(), '', [], ids);
  }

  async devices(ids: readonly string[]): Promise<(DirectoryDevice | null)[]> {
    const results = new Array<DirectoryDevice | null>(ids.length);
    const unsure = new Map<number, Mark>();
    await perShard(this.#with.keys, ids, async (shard, indices) => {
      const fields = indices.map((index) => ids[index] as string);
      const [marked, ...values] = await this.#hash(shard, (client, key) =>
        client.hmgetBuffer(key, FIELD_MARK, ...fields),
      );
      const mark = parseMark(marked?.toString() ?? '');
      const why = whyNotOwn(mark, this.#with.owner.current);
      if (mark === null || why !== null) throw new DirectoryIncomplete(why ?? '');
      for (const [at, index] of indices.entries()) {
        const value = values[at];
        const device = value ? decodeDevice(fields[at] as string, value) : null;
        results[index] = device;
        if (device?.state !== 'active') unsure.set(shard, mark);
      }
    });
    if (unsure.size > 0) await this.#assertSure(unsure);
    return results;
  }

  async setGateways(gateways: readonly DirectoryGateway[]): Promise<void> {
    await this.#putGateways(gateways, 'all');
  }

  async putGateways(gateways: readonly DirectoryGateway[]): Promise<void> {
    await this.#putGateways(gateways, 'some');
  }

  async removeGateway(name: string): Promise<void> {
    const { commands, keys } = this.#with;
    await this.#andHint(commands.do(keys.gateways, (client) => client.hdel(keys.gateways, name)));
  }

  async gateways(): Promise<DirectoryGateway[]> {
    const { commands, keys, owner } = this.#with;
    const fields = await commands.do(keys.gateways, (client) => client.hgetallBuffer(keys.gateways));
    const { [FIELD_OWNER]: listOf, ...entries } = fields;
    if (owner.current === null || listOf?.toString() !== owner.current.id) {
      throw new DirectoryIncomplete('the list of gateways is not written yet, or is lost');
    }
    return Object.values(entries).map((value) => decode<DirectoryGateway>(value));
  }

  putLists(lists: readonly DirectoryList[]): Promise<void> {
    return this.#lists.put(lists);
  }

  markLists(mark: string, groups: ReadonlySet<string>): Promise<void> {
    return this.#lists.mark(mark, groups);
  }

  listsMark(): Promise<string | null> {
    return this.#lists.readMark();
  }

  lists(groups: readonly string[]): Promise<(DirectoryList | null)[]> {
    return this.#lists.read(groups);
  }

  onGatewaysChange(onChange: () => void): Promise<() => Promise<void>> {
    return this.#with.subscriptions.on(this.#with.keys.gatewaysHint, onChange);
  }

  #installation(): Installation {
    const { current } = this.#with.owner;
    if (current === null) throw new BusUnavailable('the installation of this Redis is not known yet');
    return current;
  }

  /**
   * Throws when no device may be rejected permanently: a shard may lack the last changes, or nobody maintains
   * it.
   */
  async #assertSure(marks: ReadonlyMap<number, Mark>): Promise<void> {
    const { commands, keys } = this.#with;
    for (const [shard, mark] of marks) {
      if (!this.#isInItsHistory(shard, mark)) throw new DirectoryIncomplete(mayLack(shard));
    }
    const vouched = await commands.do(keys.directoryVouched, (client) => client.get(keys.directoryVouched));
    for (const { installation, generation } of marks.values()) {
      if (vouched !== `${installation} ${generation}`) {
        throw new DirectoryIncomplete('no administration server maintains this directory now');
      }
    }
  }

  #problemOf(look: ShardLook, shard: number): { text: string; altered?: true } | null {
    const { mark, writing } = look;
    const why = whyNotOwn(mark, this.#with.owner.current);
    if (why !== null) return { text: mark === null && writing ? 'the directory is being written' : why };
    const altered = this.#memories[shard]?.compare(look) ?? null;
    if (altered !== null) return { text: `the directory was altered: ${altered}`, altered: true };
    return mark && !this.#isInItsHistory(shard, mark) ? { text: mayLack(shard) } : null;
  }

  /** A batch names a device once: the last word on it counts. */
  async #write(
    installation: Installation,
    generation: string,
    puts: readonly DirectoryDevice[],
    removals: readonly string[],
  ): Promise<void> {
    const byId = new Map<string, DirectoryDevice | null>(puts.map((device) => [device.id, device]));
    for (const id of removals) byId.set(id, null);
    const ids = [...byId.keys()];
    const step = async (shard: number, indices: number[]) => {
      const args = indices.flatMap((index) => {
        const id = ids[index] as string;
        const device = byId.get(id);
        if (!device) return [id, '', ''];
        const { digest, value } = encodeDevice(device);
        return [id, digest, value];
      });
      const answer = Number(
        await this.#run(shard, SCRIPTS.writeDirectory, [installation.id, generation, ...args]),
      );
      if (answer === 0) throw lost();
      if (answer === 3)
        throw new BusUnavailable('the directory in this Redis belongs to another installation');
    };
    await perShard(this.#with.keys, ids, step, MAX_PER_SCRIPT);
  }

  async #putGateways(gateways: readonly DirectoryGateway[], which: 'all' | 'some'): Promise<void> {
    const { commands, keys } = this.#with;
    const pairs = gateways.flatMap((gateway) => [gateway.name, encode(gateway)]);
    const args = [this.#installation().id, which, ...pairs];
    await this.#andHint(commands.run(SCRIPTS.setGateways, [keys.gateways], args));
  }

  /** The change and its hint start together. */
  async #andHint(change: Promise<unknown>): Promise<void> {
    const { commands, keys, subscriptions } = this.#with;
    await Promise.all([change, subscriptions.publish(commands, keys.gatewaysHint)]);
  }

  #run(shard: number, script: Script, args: readonly (string | Buffer)[]): Promise<unknown> {
    return this.#with.commands.run(script, [this.#with.keys.directory(shard)], args);
  }

  #hash<T>(shard: number, command: (client: Client, key: string) => Promise<T>): Promise<T> {
    const key = this.#with.keys.directory(shard);
    return this.#with.commands.do(key, (client) => command(client, key));
  }

  #historyOf(shard: number): string | null {
    return this.#with.histories.of(this.#with.keys.directory(shard));
  }

  #isInItsHistory(shard: number, { history }: Mark): boolean {
    const now = this.#historyOf(shard);
    // A server that does not report its history leaves nothing to compare.
    return now === null || history === '' || history === now;
  }
}

function mayLack(shard: number): string {
  return `shard ${shard} of the directory may lack the latest writes`;
}
