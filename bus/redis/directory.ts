import { type Directory, type DirectoryDevice, type DirectoryGateway, DirectoryIncomplete } from '../bus.ts';
import { decode, encode } from '../encoding.ts';
import type { Commands } from './commands.ts';
import { FIELD_EPOCH, type Keys, perShard, SHARDS } from './keys.ts';
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
 * shard whole": a shard that was lost never looks like one without the device.
 */
export class RedisDirectory implements Directory {
  readonly #commands: Commands;
  readonly #subscriptions: Subscriptions;
  readonly #keys: Keys;

  constructor(commands: Commands, subscriptions: Subscriptions, keys: Keys) {
    this.#commands = commands;
    this.#subscriptions = subscriptions;
    this.#keys = keys;
  }

  async epoch(): Promise<string | null> {
    const [epoch, ...ofShards] = await Promise.all([
      this.#commands.do((client) => client.get(this.#keys.directoryEpoch)),
      ...allShards((shard) =>
        this.#commands.do((client) => client.hget(this.#keys.directory(shard), FIELD_EPOCH)),
      ),
    ]);
    return epoch && ofShards.every((ofShard) => ofShard === epoch) ? epoch : null;
  }

  async setEpoch(epoch: string): Promise<void> {
    await Promise.all(
      allShards((shard) =>
        this.#commands.do((client) => client.hset(this.#keys.directory(shard), FIELD_EPOCH, epoch)),
      ),
    );
    await this.#commands.do((client) => client.set(this.#keys.directoryEpoch, epoch));
  }

  async putDevices(devices: readonly DirectoryDevice[]): Promise<void> {
    await perShard(
      devices.map(({ id }) => id),
      async (shard, indices) => {
        const pairs = indices.flatMap((index) => {
          const device = devices[index] as DirectoryDevice;
          return [device.id, encodeDevice(device)];
        });
        await this.#commands.do((client) => client.hset(this.#keys.directory(shard), ...pairs));
      },
    );
  }

  async removeDevices(ids: readonly string[]): Promise<void> {
    await perShard(ids, async (shard, indices) => {
      const fields = indices.map((index) => ids[index] as string);
      await this.#commands.do((client) => client.hdel(this.#keys.directory(shard), ...fields));
    });
  }

  async devices(ids: readonly string[]): Promise<(DirectoryDevice | null)[]> {
    const results = new Array<DirectoryDevice | null>(ids.length);
    await perShard(ids, async (shard, indices) => {
      const fields = indices.map((index) => ids[index] as string);
      const [epoch, ...values] = await this.#commands.do((client) =>
        client.hmgetBuffer(this.#keys.directory(shard), FIELD_EPOCH, ...fields),
      );
      if (!epoch)
        throw new DirectoryIncomplete(`shard ${shard} of the directory was not written, or is lost`);
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
    const values = await this.#commands.do((client) => client.hvalsBuffer(this.#keys.gateways));
    return values.map((value) => decode<DirectoryGateway>(value));
  }

  onGatewaysChange(onChange: () => void): Promise<() => Promise<void>> {
    return this.#subscriptions.on(this.#keys.gatewaysHint, onChange);
  }

  /** The change, then its hint, in one round trip. */
  async #change(command: Parameters<Commands['do']>[0]): Promise<void> {
    await Promise.all([
      this.#commands.do(command),
      this.#commands.do((client) => client.publish(this.#keys.gatewaysHint, '')),
    ]);
  }
}

function allShards<T>(step: (shard: number) => Promise<T>): Promise<T>[] {
  return Array.from({ length: SHARDS }, (_, shard) => step(shard));
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
