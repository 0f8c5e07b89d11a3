/**
 * Every key and channel the bus uses in Redis. The part in `{}` decides the slot in a Redis Cluster: all keys
 * that one script touches share it. The prefix comes before the braces so that several installations can
 * share one Redis.
 *
 * | key | type | holds |
 * |---|---|---|
 * | `pp:leases` | sorted set | incarnations by the time their lease ends; a list to validate, not the truth |
 * | `pp:{<incarnation>}:lease` | hash, expires | `identity`, `load`, `since`, `heard`; their MACs |
 * | `pp:{<incarnation>}:left` | string, expires | a MAC: the worker left and had nothing more to append |
 * | `pp:{<incarnation>}:epoch` | string, expires | the epoch of the outbox |
 * | `pp:{<incarnation>}:outbox` | stream, expires | field `d`: encoded delivery; `s`: MAC of a group |
 * | `pp:{receipts}` | stream | field `b`: an encoded batch of receipts; `i`: installation; `s`: MAC |
 * | `pp:{receipts}:bytes` | string | bytes of all batches that wait |
 * | `pp:{receipts}:stream` | string | a random name of the stream: another one once Redis was emptied |
 * | `pp:{receipts}:dead` | stream, bounded | entries of it that could not be decoded, or were refused |
 * | `pp:{joins}`, `pp:{joins}:times` | hash, sorted set | requests of gateways that join or renew |
 * | `pp:{joins}:answer:<id>` | string, expires | the answer to one of them |
 * | `pp:presence:{<shard>}`, or `pp:presence` | hash | device: `<incarnation> <session>`; top session |
 * | `pp:installation` | hash | `id`, the highest `epoch` seen and its MAC `seal`, when a server was `seen` |
 * | `pp:directory:{<shard>}`, or `pp:directory` | hash | device: generation, digest, value; marks |
 * | `pp:directory:vouched` | string, expires | the installation and generation that an administration server
 * maintains |
 * | `pp:gateways` | hash | gateway's name: encoded; whose list it is |
 * | `pp:gateway-lists` | hash | group: its signed list of gateways; whose lists, and which they are |
 * | `pp:probe:{<tag>}:<bus>` | string, expires | nothing |
 *
 * Channels are `pp:{<incarnation>}:hint`, `pp:{<incarnation>}:ask-heard`, `pp:hint:gateways` and that of the
 * probe; in a Redis Cluster they are sharded, and what is in `{}` decides over them as well.
 */

/**
 * Shards of presence and directory in a Redis Cluster: enough for any realistic cluster, and few enough that
 * a batch of a hundred devices needs few commands. Never change it while there is data. Without a cluster
 * there is one shard, so that a few devices need one command.
 */
const CLUSTER_SHARDS = 16;

/** Devices one command may name; larger shards of a batch are split. */
export const MAX_PER_COMMAND = 1_000;
/** The same for a script that works on each device: Redis serves nobody else while it runs. */
export const MAX_PER_SCRIPT = 250;

/** Which shard a device is in: FNV-1a over the characters of its id, modulo `shards`. */
function shardOf(device: string, shards: number): number {
  if (shards === 1) return 0;
  let hash = 0x811c9dc5;
  for (let index = 0; index < device.length; index += 1) {
    hash = Math.imul(hash ^ device.charCodeAt(index), 0x01000193);
  }
  return (hash >>> 0) % shards;
}

/**
 * Calls `step` for each shard that holds some of `devices`, with their indices in `devices`, at most `most`
 * at a time and in order. All steps begin in one turn, so that their commands travel together.
 */
export async function perShard(
  { shards: count }: Keys,
  devices: readonly string[],
  step: (shard: number, indices: number[]) => Promise<void>,
  most = MAX_PER_COMMAND,
): Promise<void> {
  const shards = new Map<number, number[][]>();
  for (const [index, device] of devices.entries()) {
    const shard = shardOf(device, count);
    const parts = shards.get(shard) ?? [];
    if (parts.length === 0) shards.set(shard, parts);
    const last = parts.at(-1);
    if (last === undefined || last.length === most) parts.push([index]);
    else last.push(index);
  }
  await Promise.all([...shards].flatMap(([shard, parts]) => parts.map((indices) => step(shard, indices))));
}

/** Fields beside the devices in a shard's hash. No identifier starts with a space (protocol rule F-6). */
export const FIELD_LAST_SESSION = ' last';
export const FIELD_MARK = ' mark';
export const FIELD_OWNER = ' owner';

export type Keys = ReturnType<typeof keysWith>;

/** `sharded`: the data is in a Redis Cluster. */
export function keysWith(prefix: string, sharded: boolean) {
  const inShard = sharded ? (shard: number) => `:{${shard}}` : () => '';
  return {
    shards: sharded ? CLUSTER_SHARDS : 1,
    leases: `${prefix}:leases`,
    lease: (incarnation: string) => `${prefix}:{${incarnation}}:lease`,
    left: (incarnation: string) => `${prefix}:{${incarnation}}:left`,
    epoch: (incarnation: string) => `${prefix}:{${incarnation}}:epoch`,
    outbox: (incarnation: string) => `${prefix}:{${incarnation}}:outbox`,
    askHeard: (incarnation: string) => `${prefix}:{${incarnation}}:ask-heard`,
    outboxHint: (incarnation: string) => `${prefix}:{${incarnation}}:hint`,

    receipts: `${prefix}:{receipts}`,
    receiptBytes: `${prefix}:{receipts}:bytes`,
    receiptsStream: `${prefix}:{receipts}:stream`,
    deadReceipts: `${prefix}:{receipts}:dead`,

    presence: (shard: number) => `${prefix}:presence${inShard(shard)}`,
    directory: (shard: number) => `${prefix}:directory${inShard(shard)}`,
    directoryVouched: `${prefix}:directory:vouched`,
    installation: `${prefix}:installation`,
    gateways: `${prefix}:gateways`,
    lists: `${prefix}:gateway-lists`,
    gatewaysHint: `${prefix}:hint:gateways`,

    joins: `${prefix}:{joins}`,
    joinTimes: `${prefix}:{joins}:times`,
    joinAnswer: (id: string) => `${prefix}:{joins}:answer:${id}`,

    /**
     * Key and channel that each bus writes and announces, to find out whether a server accepts writes and
     * delivers hints.
     */
    probe: (tag: string, bus: string) => `${prefix}:probe:{${tag}}:${bus}`,
  };
}
