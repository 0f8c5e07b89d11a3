import { Redis } from 'ioredis';
import { freePort, waitFor } from '../wait.ts';
import { askRedis } from './ask-redis.ts';
import type { Certificates } from './certificates.ts';
import { type RedisServer, startRedis } from './redis.ts';

export interface ClusterDeployment {
  /** As `REDIS_URL` takes it, without a password. */
  readonly url: string;
  readonly servers: readonly RedisServer[];
  /** The servers that hold slots now, in the order of their lowest slot. */
  primaries(): Promise<RedisServer[]>;
  /** The one that holds the slot of `key` now. */
  primaryOf(key: string): Promise<RedisServer>;
  replicasOf(primary: RedisServer): Promise<RedisServer[]>;
  /**
   * A plain connection to a server, with its password; it follows no redirections. The caller disconnects it.
   */
  connect(server: RedisServer): Redis;
  /** Resolves once `old` holds no slots any more and the cluster is whole. */
  failedOver(old: RedisServer): Promise<void>;
  /** Lets a replica of `primary` take its place in good order, and waits for it. */
  failOver(primary: RedisServer): Promise<void>;
  /** Idempotent. */
  stop(): Promise<void>;
}

export interface ClusterDeploymentOptions {
  /** 3 when absent: the fewest that can agree on a failover. */
  primaries?: number;
  /** Of each primary; 1 when absent. */
  replicas?: number;
  /** After how long a silence a server counts as down, milliseconds; 1,500 when absent. */
  nodeTimeoutMs?: number;
  password?: string;
  tls?: Pick<Certificates, 'ca' | 'cert' | 'key'>;
}

const SLOTS = 16_384;

/** A Redis Cluster with its slots spread evenly and all replicas in step, on 127.0.0.1. */
export async function startClusterDeployment(
  options: ClusterDeploymentOptions = {},
): Promise<ClusterDeployment> {
  const { primaries = 3, replicas = 1, nodeTimeoutMs = 1_500, password, tls } = options;
  const started: RedisServer[] = [];
  const stop = async () => {
    await Promise.all(started.map((server) => server.stop()));
  };
  try {
    const start = async () => {
      const server = await startRedis({
        settings: [
          ['cluster-enabled', 'yes'],
          ['cluster-config-file', 'nodes.conf'],
          ['cluster-node-timeout', String(nodeTimeoutMs)],
          // The default, the port + 10,000, may lie beyond the last port.
          ['cluster-port', String(await freePort())],
          ...(password === undefined
            ? []
            : ([
                ['requirepass', password],
                ['masterauth', password],
              ] as const)),
        ],
        ...(tls && { tls }),
      });
      started.push(server);
    };
    await Promise.all(Array.from({ length: primaries * (1 + replicas) }, start));
    const deployment = new Deployment(started, options, stop);
    await deployment.join(primaries);
    return deployment;
  } catch (error) {
    await stop();
    throw error;
  }
}

interface Node {
  id: string;
  port: number;
  flags: string[];
  /** Id of the node that this one is a replica of. */
  primary: string | null;
  linked: boolean;
  slots: [first: number, last: number][];
}

class Deployment implements ClusterDeployment {
  readonly servers: readonly RedisServer[];
  readonly stop: () => Promise<void>;
  readonly #options: ClusterDeploymentOptions;

  constructor(servers: readonly RedisServer[], options: ClusterDeploymentOptions, stop: () => Promise<void>) {
    this.servers = servers;
    this.#options = options;
    this.stop = stop;
  }

  get url(): string {
    const scheme = this.#options.tls === undefined ? 'redis+cluster' : 'rediss+cluster';
    return `${scheme}://${this.servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
  }

  connect(server: RedisServer): Redis {
    const { password, tls } = this.#options;
    const client = new Redis(server.url, {
      maxRetriesPerRequest: 1,
      // A server that hangs (SIGSTOP) must not hold up those who ask for good; a busy machine takes a while.
      connectTimeout: 5_000,
      commandTimeout: 5_000,
      ...(password !== undefined && { password }),
      ...(tls && { tls: { rejectUnauthorized: false } }),
    });
    client.on('error', () => {
      // What is asked of it rejects by itself.
    });
    return client;
  }

  async primaries(): Promise<RedisServer[]> {
    const nodes = (await this.#nodes()).filter(({ slots }) => slots.length > 0);
    nodes.sort((a, b) => (a.slots[0]?.[0] ?? 0) - (b.slots[0]?.[0] ?? 0));
    return nodes.map((node) => this.#serverOf(node));
  }

  async primaryOf(key: string): Promise<RedisServer> {
    const slot = Number(await this.#anyone((client) => client.cluster('KEYSLOT', key)));
    const node = (await this.#nodes()).find(({ slots }) =>
      slots.some(([first, last]) => first <= slot && slot <= last),
    );
    if (node === undefined) throw new Error(`nobody holds slot ${slot}`);
    return this.#serverOf(node);
  }

  async replicasOf(primary: RedisServer): Promise<RedisServer[]> {
    const nodes = await this.#nodes();
    const id = nodes.find(({ port }) => port === primary.port)?.id;
    return nodes.filter((node) => node.primary === id).map((node) => this.#serverOf(node));
  }

  async failedOver(old: RedisServer): Promise<void> {
    await waitFor(async () => !(await this.primaries()).includes(old) && (await this.#whole(old)), {
      timeoutMs: 20_000,
      intervalMs: 50,
      what: 'the failover',
    });
  }

  async failOver(primary: RedisServer): Promise<void> {
    const [replica] = await this.replicasOf(primary);
    if (replica === undefined) throw new Error('this server has no replica');
    // A replica gives up an attempt after 5 s without a word, and may be asked again then.
    let askAt = 0;
    const isPrimary = async () => {
      if (performance.now() >= askAt) {
        await askRedis(this.connect(replica), (client) => client.cluster('FAILOVER'));
        askAt = performance.now() + 6_000;
      }
      return (await askRedis(this.connect(replica), (client) => client.role()))[0] === 'master';
    };
    await waitFor(isPrimary, { timeoutMs: 30_000, intervalMs: 100, what: 'the replica to take over' });
    await this.failedOver(primary);
  }

  /**
   * Makes a cluster of servers that do not know each other: the first `count` get the slots, the others are
   * replicas.
   */
  async join(count: number): Promise<void> {
    const [first, ...others] = this.servers as [RedisServer, ...RedisServer[]];
    const busPorts = new Map<RedisServer, number>();
    for (const server of this.servers) {
      const [, port] = (await askRedis(this.connect(server), (client) =>
        client.config('GET', 'cluster-port'),
      )) as string[];
      busPorts.set(server, Number(port));
    }
    for (const [index, server] of this.servers.slice(0, count).entries()) {
      const from = Math.floor((SLOTS * index) / count);
      const to = Math.floor((SLOTS * (index + 1)) / count) - 1;
      await askRedis(this.connect(server), (client) => client.call('CLUSTER', 'ADDSLOTSRANGE', from, to));
      // Different from the start: the servers need not settle who is newer.
      await askRedis(this.connect(server), (client) =>
        client.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1),
      ).catch(ignoreDone);
    }
    for (const server of others) {
      await askRedis(this.connect(first), (client) =>
        client.call('CLUSTER', 'MEET', '127.0.0.1', server.port, busPorts.get(server) as number),
      );
    }
    const ids = await Promise.all(
      this.servers.map((server) => askRedis(this.connect(server), (client) => client.cluster('MYID'))),
    );
    for (const [index, server] of this.servers.entries()) {
      if (index < count) continue;
      const primary = String(ids[index % count]);
      await waitFor(
        () =>
          askRedis(this.connect(server), (client) => client.cluster('REPLICATE', primary)).then(() => true),
        { timeoutMs: 20_000, intervalMs: 50, what: 'the cluster to know all servers' },
      );
    }
    await waitFor(() => this.#whole(null), { timeoutMs: 30_000, intervalMs: 50, what: 'the cluster' });
  }

  /**
   * Everybody but `without` sees a cluster that serves all slots, and replicas are in step with their
   * primaries.
   */
  async #whole(without: RedisServer | null): Promise<boolean> {
    for (const server of this.servers) {
      if (server === without) continue;
      const [info, replication, nodes] = await askRedis(this.connect(server), (client) =>
        Promise.all([client.cluster('INFO'), client.info('replication'), this.#nodesOf(client)]),
      );
      if (!String(info).includes('cluster_state:ok')) return false;
      if (!String(info).includes(`cluster_slots_ok:${SLOTS}`)) return false;
      if (nodes.length < this.servers.length) return false;
      if (replication.includes('role:slave') && !replication.includes('master_link_status:up')) return false;
    }
    return true;
  }

  async #nodes(): Promise<Node[]> {
    // One that was paused or cut off may have an old view: the newest is that of most slots owned by nodes
    // that answer.
    const views: Node[][] = [];
    for (const server of this.servers) {
      const view = await askRedis(this.connect(server), (client) => this.#nodesOf(client)).catch(() => null);
      if (view !== null) views.push(view);
    }
    if (views.length === 0) throw new Error('no server of the cluster answers');
    const counts = new Map<string, { view: Node[]; count: number }>();
    for (const view of views) {
      const owners = JSON.stringify(
        view
          .filter(({ slots }) => slots.length > 0)
          .map(({ id, slots }) => [id, slots])
          .sort(),
      );
      const entry = counts.get(owners) ?? { view, count: 0 };
      entry.count += 1;
      counts.set(owners, entry);
    }
    const [best] = [...counts.values()].sort((a, b) => b.count - a.count);
    return best?.view ?? [];
  }

  async #nodesOf(client: Redis): Promise<Node[]> {
    const text = String(await client.cluster('NODES'));
    return text
      .trim()
      .split('\n')
      .map((line) => {
        const [id = '', address = '', flags = '', primary = '-', , , , link, ...slots] = line.split(' ');
        return {
          id,
          port: Number(/:(\d+)@/.exec(address)?.[1]),
          flags: flags.split(','),
          primary: primary === '-' ? null : primary,
          linked: link === 'connected',
          slots: slots
            .filter((range) => /^\d/.test(range))
            .map((range) => {
              const [firstSlot, lastSlot = firstSlot] = range.split('-').map(Number);
              return [firstSlot, lastSlot] as [number, number];
            }),
        };
      });
  }

  #serverOf({ port }: Node): RedisServer {
    const server = this.servers.find((candidate) => candidate.port === port);
    if (server === undefined) throw new Error(`no server of this test has port ${port}`);
    return server;
  }

  async #anyone<T>(question: (client: Redis) => Promise<T>): Promise<T> {
    let last: unknown;
    for (const server of this.servers) {
      try {
        return await askRedis(this.connect(server), question);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }
}

/** Asked a second time, when the first answer was late. */
function ignoreDone(error: Error): void {
  if (!error.message.includes('already non-zero')) throw error;
}
