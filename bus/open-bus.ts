import type { Logger } from 'pino';
import type { Bus, Installation } from './bus.ts';
import type { GatewayCredentials, GatewayKeys } from './credentials.ts';
import { MemoryBus } from './memory-bus.ts';
import { RedisBus } from './redis/redis-bus.ts';
import type { RedisSettings } from './redis/settings.ts';
import type { Certificates } from './tls/certificates.ts';

/**
 * Creates the configured bus, not started yet: Redis if there are settings for it, otherwise in memory.
 * `tellWarnings`: see `RedisBusOptions`. Throws `RedisSettingsError`.
 */
export function openBus(options: {
  redis?: RedisSettings & { prefix?: string };
  log: Logger;
  tellWarnings?: boolean;
  installation?: Installation;
  certificates?: Certificates;
  /** See `RedisBusOptions`; memory needs none of them. */
  credentials?: () => GatewayCredentials;
  gatewayKeys?: GatewayKeys;
}): Bus {
  const { redis, log, tellWarnings = true, installation, certificates, credentials, gatewayKeys } = options;
  if (redis === undefined) return new MemoryBus({ log });
  return new RedisBus({
    ...redis,
    log,
    tellWarnings,
    ...(installation && { installation }),
    ...(certificates && { certificates }),
    ...(credentials && { credentials }),
    ...(gatewayKeys && { gatewayKeys }),
  });
}
