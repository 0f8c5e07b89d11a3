import type { Logger } from 'pino';
import type { Bus } from '../../bus/bus.ts';
import { openBus } from '../../bus/open-bus.ts';
import type { RedisSettings } from '../../bus/redis/settings.ts';
import type { Part } from './lifecycle.ts';

export function busPart(
  redis: (RedisSettings & { prefix: string }) | undefined,
  log: Logger,
): { bus: Bus; part: Part } {
  const bus = openBus({ ...(redis === undefined ? {} : { redis }), log });
  return { bus, part: { name: 'bus', start: () => bus.start(), stop: () => bus.stop() } };
}
