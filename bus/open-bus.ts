import type { Logger } from 'pino';
import type { Bus } from './bus.ts';
import { MemoryBus } from './memory-bus.ts';
import { RedisBus } from './redis/redis-bus.ts';

/** The bus that the configuration asks for: Redis when there is a URL, this process alone when not. Not started yet. */
export function openBus(options: { redisUrl?: string; log: Logger }): Bus {
  return options.redisUrl === undefined
    ? new MemoryBus({ log: options.log })
    : new RedisBus({ url: options.redisUrl, log: options.log });
}
