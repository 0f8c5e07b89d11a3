/** Creates connections to Redis with the options that all of them share. */
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { AbstractConnector, Redis, type RedisOptions } from 'ioredis';
import type { Credentials, Endpoint, RedisTarget, TlsOptions } from './settings.ts';

export type Argument = string | number | Buffer;

/** The commands with binary answers that the client has, but its type declarations do not. */
export type Client = Redis &
  Record<'evalBuffer' | 'evalshaBuffer' | 'xautoclaimBuffer', (...args: Argument[]) => Promise<unknown>>;

/** A server that accepts no connection within this time counts as absent, milliseconds. */
const CONNECT_TIMEOUT_MS = 2_000;

interface Following {
  /**
   * The target of the next connection. A rejection reaches the client's `error` event and leads to another
   * call.
   */
  locate(): Promise<Endpoint>;
  /** Pause before the nth attempt in a row, milliseconds. */
  delayMs(attempt: number): number;
}

/**
 * A connection to the target that `locate` names, not opened yet. It reconnects until it is disconnected on
 * purpose, but resends nothing by itself. Commands that were in flight when it broke are rejected at once,
 * and so are commands issued before it is back. The caller therefore always knows what was not done, and
 * nothing is appended twice without its knowledge.
 */
export function newClient(
  target: RedisTarget,
  following: Following,
  options: Omit<RedisOptions, 'replyMapping'>,
): Client {
  const all = {
    ...commonOptions(target.credentials, target.tls),
    db: target.database,
    connectionName: 'pushpoint',
    ...connectorTo(following, target.tls),
    retryStrategy: following.delayMs,
    ...options,
  };
  return new Redis(all) as unknown as Client;
}

/** A connection to one sentinel, or to one server of a cluster to be asked about the others. */
export function sentinelClient(target: RedisTarget & { kind: 'sentinel' }, endpoint: Endpoint): Redis {
  return new Redis({
    ...commonOptions(target.sentinelCredentials, target.tls),
    ...alwaysAt(endpoint, target.tls),
    connectionName: 'pushpoint-sentinel',
    commandTimeout: 1_000,
    socketTimeout: 2_000,
    retryStrategy: reconnectDelayMs,
  });
}

/** A connection to one server of a cluster, to ask it about the others; it does not reconnect. */
export function seedClient(target: RedisTarget, endpoint: Endpoint): Redis {
  return new Redis({
    ...commonOptions(target.credentials, target.tls),
    ...alwaysAt(endpoint, target.tls),
    connectionName: 'pushpoint-seed',
    commandTimeout: 1_000,
    retryStrategy: () => null,
  });
}

function commonOptions({ username, password }: Credentials, tls: TlsOptions | null) {
  return {
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: 30_000,
    enableOfflineQueue: false,
    // `Link` checks what the server reports about itself.
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    autoResubscribe: false,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls !== null && { tls }),
  };
}

/** Back-off from 50 ms to 2 s with jitter over its upper half. */
export function reconnectDelayMs(attempt: number): number {
  const cap = Math.min(50 * 2 ** Math.min(attempt - 1, 10), 2_000);
  return cap / 2 + Math.random() * (cap / 2);
}

function alwaysAt(endpoint: Endpoint, tls: TlsOptions | null): { Connector: never } {
  return connectorTo({ locate: async () => endpoint, delayMs: reconnectDelayMs }, tls);
}

function connectorTo({ locate, delayMs }: Following, tls: TlsOptions | null): { Connector: never } {
  const Connector = class extends AbstractConnector {
    constructor() {
      super(1_000);
    }

    async connect(emit: (type: string, error: Error) => void) {
      this.connecting = true;
      for (let attempt = 1; ; attempt += 1) {
        const endpoint = await locate().catch((error: Error) => {
          emit('error', error);
          return null;
        });
        if (!this.connecting) throw new Error('Connection is closed.');
        if (endpoint !== null) {
          const address = { host: endpoint.host, port: endpoint.port };
          this.stream = tls === null ? connectTcp(address) : connectTls({ ...address, ...tls });
          // The listener stays attached: the client listens for one error only, and TLS may emit another
          // after that.
          this.stream.on('error', (error: Error) => {
            this.firstError ??= error;
          });
          return this.stream;
        }
        // The client would give up for good if this rejected.
        await new Promise((resolve) => setTimeout(resolve, delayMs(attempt)));
      }
    }
  };
  // The type declaration requires more than the client does.
  return { Connector: Connector as never };
}

/** Opens it without waiting: failures reach its `error` event, and it keeps trying. */
export function open(client: Redis): void {
  client.connect().catch(() => {
    // The same failure was emitted as `error`, or the connection was closed on purpose.
  });
}

/** Closes for good; resolves once the socket is gone. */
export async function close(client: Redis): Promise<void> {
  if (client.status === 'end') return;
  const ended = new Promise<void>((resolve) => client.once('end', () => resolve()));
  // A connection between two attempts has no socket to wait for.
  const waiting = client.status === 'reconnecting' || client.status === 'wait' || client.status === 'close';
  client.disconnect();
  if (!waiting) await ended;
}
