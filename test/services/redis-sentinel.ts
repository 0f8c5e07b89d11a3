import { Redis } from 'ioredis';
import { waitFor } from '../wait.ts';
import { askRedis } from './ask-redis.ts';
import type { Certificates } from './certificates.ts';
import { type RedisServer, startRedis } from './redis.ts';

export interface SentinelDeployment {
  /** As `REDIS_URL` takes it, without passwords. */
  readonly url: string;
  /** What the sentinels call the primary and its replicas. */
  readonly name: string;
  /** All Redis servers; which is the primary changes. */
  readonly servers: readonly RedisServer[];
  readonly sentinels: readonly RedisServer[];
  /** The one that the sentinels name as primary now. */
  primary(): Promise<RedisServer>;
  /** The others. */
  replicas(): Promise<RedisServer[]>;
  /** A plain connection to a server or sentinel, with its password. The caller disconnects it. */
  connect(server: RedisServer): Redis;
  /** Resolves once the sentinels name another primary than `old`, and that takes writes. */
  failedOver(old: RedisServer): Promise<RedisServer>;
  /** Asks a sentinel to fail over in good order, and waits for it. */
  failOver(): Promise<RedisServer>;
  /** Idempotent. */
  stop(): Promise<void>;
}

export interface SentinelDeploymentOptions {
  /** 1 when absent. */
  replicas?: number;
  /** 3 when absent; more than half of them must agree. */
  sentinels?: number;
  /** After how long a silence a server counts as down, milliseconds; 1,000 when absent. */
  downAfterMs?: number;
  /** Of the Redis servers, and of the sentinels. None when absent. */
  password?: string;
  sentinelPassword?: string;
  tls?: Pick<Certificates, 'ca' | 'cert' | 'key'>;
}

const NAME = 'pushpoint';

/** A primary, its replicas in step with it, and the sentinels that watch them, all on 127.0.0.1. */
export async function startSentinelDeployment(
  options: SentinelDeploymentOptions = {},
): Promise<SentinelDeployment> {
  const {
    replicas = 1,
    sentinels: count = 3,
    downAfterMs = 1_000,
    password,
    sentinelPassword,
    tls,
  } = options;
  const started: RedisServer[] = [];
  const stop = async () => {
    await Promise.all(started.map((server) => server.stop()));
  };
  const start = async (startOptions: Parameters<typeof startRedis>[0]) => {
    const server = await startRedis({ ...startOptions, ...(tls && { tls }) });
    started.push(server);
    return server;
  };
  try {
    const secret: [string, string][] =
      password === undefined
        ? []
        : [
            ['requirepass', password],
            ['masterauth', password],
          ];
    const first = await start({ settings: secret });
    const replicaOf: [string, string, string] = ['replicaof', '127.0.0.1', String(first.port)];
    const others = await Promise.all(
      Array.from({ length: replicas }, () => start({ settings: [...secret, replicaOf] })),
    );
    const settings: [string, ...string[]][] = [
      ['sentinel', 'monitor', NAME, '127.0.0.1', String(first.port), String(Math.floor(count / 2) + 1)],
      ['sentinel', 'down-after-milliseconds', NAME, String(downAfterMs)],
      ['sentinel', 'failover-timeout', NAME, String(downAfterMs * 4)],
      ...(password === undefined ? [] : [['sentinel', 'auth-pass', NAME, password] as [string, ...string[]]]),
      ...(sentinelPassword === undefined
        ? []
        : ([
            ['requirepass', sentinelPassword],
            ['sentinel', 'sentinel-pass', sentinelPassword],
          ] as [string, ...string[]][])),
    ];
    const sentinels = await Promise.all(
      Array.from({ length: count }, () => start({ sentinel: true, settings })),
    );
    const deployment = new Deployment([first, ...others], sentinels, options, stop);
    await deployment.whole();
    return deployment;
  } catch (error) {
    await stop();
    throw error;
  }
}

class Deployment implements SentinelDeployment {
  readonly name = NAME;
  readonly servers: readonly RedisServer[];
  readonly sentinels: readonly RedisServer[];
  readonly stop: () => Promise<void>;
  readonly #options: SentinelDeploymentOptions;

  constructor(
    servers: readonly RedisServer[],
    sentinels: readonly RedisServer[],
    options: SentinelDeploymentOptions,
    stop: () => Promise<void>,
  ) {
    this.servers = servers;
    this.sentinels = sentinels;
    this.#options = options;
    this.stop = stop;
  }

  get url(): string {
    const scheme = this.#options.tls === undefined ? 'redis+sentinel' : 'rediss+sentinel';
    return `${scheme}://${this.sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${NAME}`;
  }

  connect(server: RedisServer): Redis {
    const { password, sentinelPassword, tls } = this.#options;
    const secret = this.sentinels.includes(server) ? sentinelPassword : password;
    const client = new Redis(server.url, {
      maxRetriesPerRequest: 1,
      // A server that hangs (SIGSTOP) must not hold up those who ask for good; a busy machine takes a while.
      connectTimeout: 5_000,
      commandTimeout: 5_000,
      ...(secret !== undefined && { password: secret }),
      ...(tls && { tls: { rejectUnauthorized: false } }),
    });
    client.on('error', () => {
      // What is asked of it rejects by itself.
    });
    return client;
  }

  async primary(): Promise<RedisServer> {
    for (const sentinel of this.sentinels) {
      const answer = await askRedis(this.connect(sentinel), (client) =>
        client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME),
      ).catch(() => null);
      const port = Number((answer as string[] | null)?.[1]);
      const server = this.servers.find((candidate) => candidate.port === port);
      if (server !== undefined) return server;
    }
    throw new Error('no sentinel names a primary');
  }

  async replicas(): Promise<RedisServer[]> {
    const primary = await this.primary();
    return this.servers.filter((server) => server !== primary);
  }

  async failedOver(old: RedisServer): Promise<RedisServer> {
    return waitFor(
      async () => {
        const primary = await this.primary();
        if (primary === old) return undefined;
        const role = await askRedis(this.connect(primary), (client) => client.role());
        return role[0] === 'master' ? primary : undefined;
      },
      { timeoutMs: 20_000, intervalMs: 50, what: 'the failover' },
    );
  }

  async failOver(): Promise<RedisServer> {
    const old = await this.primary();
    const [sentinel] = this.sentinels as [RedisServer];
    await waitFor(
      () =>
        askRedis(this.connect(sentinel), (client) => client.call('SENTINEL', 'FAILOVER', NAME)).then(
          () => true,
        ),
      {
        timeoutMs: 20_000,
        intervalMs: 200,
        what: 'a sentinel that fails over',
      },
    );
    return this.failedOver(old);
  }

  /** Replicas in step, and every sentinel knows the others and all replicas. */
  async whole(): Promise<void> {
    const replicas = this.servers.length - 1;
    for (const sentinel of this.sentinels) {
      await waitFor(
        async () => {
          const facts = fields(
            await askRedis(this.connect(sentinel), (client) => client.call('SENTINEL', 'MASTER', NAME)),
          );
          return (
            Number(facts.get('num-slaves')) === replicas &&
            Number(facts.get('num-other-sentinels')) === this.sentinels.length - 1
          );
        },
        { timeoutMs: 20_000, intervalMs: 50, what: 'the sentinels to know each other' },
      );
    }
    const [primary] = this.servers as [RedisServer];
    await waitFor(
      async () => {
        const info = await askRedis(this.connect(primary), (client) => client.info('replication'));
        return (info.match(/state=online/g) ?? []).length === replicas;
      },
      { timeoutMs: 20_000, intervalMs: 50, what: 'the replicas' },
    );
  }
}

/** A flat list of names and values, or what newer protocols make of it. */
function fields(answer: unknown): Map<string, string> {
  if (!Array.isArray(answer)) return new Map(Object.entries(answer as Record<string, string>));
  const pairs = answer.flatMap((name, index) =>
    index % 2 === 0 ? [[String(name), String(answer[index + 1])]] : [],
  );
  return new Map(pairs as [string, string][]);
}
