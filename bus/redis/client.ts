/** How the connections to Redis are made, and what all of them have in common. */
import { Redis, type RedisOptions } from 'ioredis';

export type Argument = string | number | Buffer;

/** The commands with binary answers that the client has, but its type declarations do not. */
export type Client = Redis &
  Record<'evalBuffer' | 'evalshaBuffer' | 'xautoclaimBuffer', (...args: Argument[]) => Promise<unknown>>;

/**
 * A connection that is not opened yet. It reconnects for as long as it is not disconnected, but sends nothing again by
 * itself: what was under way when it broke is rejected at once, and what comes before it is back as well, so that the
 * caller always knows what was not done (and nothing is appended twice behind its back).
 */
export function newClient(url: string, options: Omit<RedisOptions, 'replyMapping'>): Client {
  return new Redis(url, {
    lazyConnect: true,
    connectionName: 'pushpoint',
    connectTimeout: 5_000,
    keepAlive: 30_000,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResubscribe: false,
    retryStrategy: reconnectDelayMs,
    reconnectOnError: reconnectWhenReadOnly(),
    ...options,
  }) as Client;
}

/** Back-off from 50 ms to 2 s with jitter over its upper half. */
function reconnectDelayMs(attempt: number): number {
  const cap = Math.min(50 * 2 ** Math.min(attempt - 1, 10), 2_000);
  return cap / 2 + Math.random() * (cap / 2);
}

/**
 * After a failover the old address may lead to a replica, and only a new connection finds the new primary; but a replica
 * that stays one is not to be connected to again and again.
 */
function reconnectWhenReadOnly(): (error: Error) => boolean {
  let last = Number.NEGATIVE_INFINITY;
  return (error) => {
    if (!error.message.startsWith('READONLY') || performance.now() - last < 1_000) return false;
    last = performance.now();
    return true;
  };
}

/** Opens it without waiting: failures reach its `error` event, and it goes on trying. */
export function open(client: Redis): void {
  client.connect().catch(() => {
    // The same failure was emitted as `error`, or the connection was closed on purpose.
  });
}

/** Closes for good; resolves once the socket is gone. */
export async function close(client: Redis): Promise<void> {
  if (client.status === 'end') return;
  const ended = new Promise<void>((resolve) => client.once('end', () => resolve()));
  // A connection that waits for its next attempt has no socket whose end could be waited for.
  const waiting = client.status === 'reconnecting' || client.status === 'wait' || client.status === 'close';
  client.disconnect();
  if (!waiting) await ended;
}

export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
