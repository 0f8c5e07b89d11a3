import { type Directory, type DirectoryDevice, type DirectoryGateway, DirectoryIncomplete } from '../bus.ts';
import { decode, encode } from '../encoding.ts';
import type { Client } from './client.ts';
import type { Commands } from './commands.ts';
import type { Histories } from './histories.ts';
import { FIELD_EPOCH, type Keys, perShard } from './keys.ts';
import type { Subscriptions } from './subscriptions.ts';

type StoredDevice = [
  publicKey: Uint8Array,
  blocked: boolean,
  groups: string[],
  membership: Uint8Array,
  membershipRevision: number,
];

/**
 * Each shard's hash carries the epoch beside the devices, so that one command answers both "which device" and "is this
 * shard whole": a shard that was lost never looks like one without the device. With the epoch stands the history of the
 * data that it was written in: in another one the last changes may be missing, so the directory is not whole, and a device
 * that is not found is not known to be missing.
 */
export class RedisDirectory implements Directory {
  readonly #commands: Commands;
  readonly #subscriptions: Subscriptions;
  readonly #keys: Keys;
  readonly #histories: Histories;
  /** Histories as what `setEpoch` vouches for began to be written, by shard. */
  #begunIn: (string | null)[] | null = null;

  constructor(commands: Commands, subscriptions: Subscriptions, keys: Keys, histories: Histories) {
    this.#commands = commands;
    this.#subscriptions = subscriptions;
    this.#keys = keys;
    this.#histories = histories;
  }

  async epoch(): Promise<string | null> {
    this.#begunIn = this.#historiesNow();
    const [epoch, ...ofShards] = await Promise.all([
      this.#commands.do(this.#keys.directoryEpoch, (client) => client.get(this.#keys.directoryEpoch)),
      ...this.#allShards((shard) => this.#hash(shard, (client, key) => client.hget(key, FIELD_EPOCH))),
    ]);
    const whole = ofShards.every(
      (mark, shard) => mark && this.#isWhole(shard, mark) && epochIn(mark) === epoch,
    );
    return epoch && whole ? epoch : null;
  }

  async setEpoch(epoch: string): Promise<void> {
    const histories = this.#begunIn ?? this.#historiesNow();
    await Promise.all(
      this.#allShards((shard) =>
        this.#hash(shard, (client, key) =>
          client.hset(key, FIELD_EPOCH, `${epoch} ${histories[shard] ?? ''}`),
        ),
      ),
    );
    await this.#commands.do(this.#keys.directoryEpoch, (client) =>
      client.set(this.#keys.directoryEpoch, epoch),
    );
    this.#begunIn = null;
  }

  async putDevices(devices: readonly DirectoryDevice[]): Promise<void> {
    this.#begunIn ??= this.#historiesNow();
    await perShard(
      this.#keys,
      devices.map(({ id }) => id),
      async (shard, indices) => {
        const pairs = indices.flatMap((index) => {
          const device = devices[index] as DirectoryDevice;
          return [device.id, encodeDevice(device)];
        });
        await this.#hash(shard, (client, key) => client.hset(key, ...pairs));
      },
    );
  }

  async removeDevices(ids: readonly string[]): Promise<void> {
    await perShard(this.#keys, ids, async (shard, indices) => {
      const fields = indices.map((index) => ids[index] as string);
      await this.#hash(shard, (client, key) => client.hdel(key, ...fields));
    });
  }

  async devices(ids: readonly string[]): Promise<(DirectoryDevice | null)[]> {
    const results = new Array<DirectoryDevice | null>(ids.length);
    await perShard(this.#keys, ids, async (shard, indices) => {
      const fields = indices.map((index) => ids[index] as string);
      const [mark, ...values] = await this.#hash(shard, (client, key) =>
        client.hmgetBuffer(key, FIELD_EPOCH, ...fields),
      );
      if (!mark) throw new DirectoryIncomplete(`shard ${shard} of the directory was not written, or is lost`);
      if (values.includes(null) && !this.#isWhole(shard, mark.toString())) {
        throw new DirectoryIncomplete(`shard ${shard} of the directory may lack what was written last`);
      }
      for (const [at, index] of indices.entries()) {
        const value = values[at];
        results[index] = value ? decodeDevice(fields[at] as string, value) : null;
      }
    });
    return results;
  }

  async putGateways(gateways: readonly DirectoryGateway[]): Promise<void> {
    if (gateways.length === 0) return;
    const pairs = gateways.flatMap((gateway) => [gateway.name, encode(gateway)]);
    await this.#change((client) => client.hset(this.#keys.gateways, ...pairs));
  }

  async removeGateway(name: string): Promise<void> {
    await this.#change((client) => client.hdel(this.#keys.gateways, name));
  }

  async gateways(): Promise<DirectoryGateway[]> {
    const values = await this.#commands.do(this.#keys.gateways, (client) =>
      client.hvalsBuffer(this.#keys.gateways),
    );
    return values.map((value) => decode<DirectoryGateway>(value));
  }

  onGatewaysChange(onChange: () => void): Promise<() => Promise<void>> {
    return this.#subscriptions.on(this.#keys.gatewaysHint, onChange);
  }

  /** The change and its hint, begun together. */
  async #change(command: (client: Client) => Promise<unknown>): Promise<void> {
    await Promise.all([
      this.#commands.do(this.#keys.gateways, command),
      this.#subscriptions.publish(this.#commands, this.#keys.gatewaysHint),
    ]);
  }

  #allShards<T>(step: (shard: number) => T): T[] {
    return Array.from({ length: this.#keys.shards }, (_, shard) => step(shard));
  }

  #hash<T>(shard: number, command: (client: Client, key: string) => Promise<T>): Promise<T> {
    const key = this.#keys.directory(shard);
    return this.#commands.do(key, (client) => command(client, key));
  }

  #historiesNow(): (string | null)[] {
    return this.#allShards((shard) => this.#histories.of(this.#keys.directory(shard)));
  }

  #isWhole(shard: number, mark: string): boolean {
    const written = mark.slice(mark.indexOf(' ') + 1);
    const now = this.#histories.of(this.#keys.directory(shard));
    // A server that does not tell its history leaves nothing to compare.
    return now === null || written === '' || written === now;
  }
}

function epochIn(mark: string): string {
  return mark.slice(0, mark.indexOf(' '));
}

function encodeDevice(device: DirectoryDevice): Buffer {
  const stored: StoredDevice = [
    device.publicKey,
    device.blocked,
    device.groups,
    device.membership,
    device.membershipRevision,
  ];
  return encode(stored);
}

function decodeDevice(id: string, value: Buffer): DirectoryDevice {
  const [publicKey, blocked, groups, membership, membershipRevision] = decode<StoredDevice>(value);
  return {
    id,
    // Copies: a record that is kept must not keep alive the buffer it was received in.
    publicKey: new Uint8Array(publicKey),
    blocked,
    groups,
    membership: new Uint8Array(membership),
    membershipRevision,
  };
}
