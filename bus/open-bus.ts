import type { Logger } from 'pino';
import type { Bus } from './bus.ts';
import { MemoryBus } from './memory-bus.ts';
import { RedisBus } from './redis/redis-bus.ts';
import type { RedisSettings } from './redis/settings.ts';

/**
 * The bus that the configuration asks for: Redis when there are settings for it, this process alone when not. Not started
 * yet. `tellWarnings`: see `RedisBusOptions`. Throws `RedisSettingsError`.
 */
export function openBus(options: { redis?: RedisSettings; log: Logger; tellWarnings?: boolean }): Bus {
  const { redis, log, tellWarnings = true } = options;
  return redis === undefined ? new MemoryBus({ log }) : new RedisBus({ ...redis, log, tellWarnings });
}
