import type { Logger } from 'pino';
import type { Bus } from '../../bus/bus.ts';
import type { GatewayCredentials, GatewayKeys } from '../../bus/credentials.ts';
import { openBus } from '../../bus/open-bus.ts';
import type { RedisSettings } from '../../bus/redis/settings.ts';
import type { Certificates } from '../../bus/tls/certificates.ts';
import type { Part } from './lifecycle.ts';
import type { WaitingRoom } from './waiting-room.ts';

export interface BusParts {
  /** Absent: the bus is in this process. */
  redis?: RedisSettings & { prefix: string };
  room: WaitingRoom;
  log: Logger;
  certificates: Certificates;
  /** For a gateway. */
  credentials?: () => GatewayCredentials;
  /** For an administration server. */
  gatewayKeys?: GatewayKeys;
}

/** The part waits for Redis, in `room`. */
export function busPart({ room, ...options }: BusParts): { bus: Bus; part: Part } {
  const bus = openBus(options);
  const start = async () => {
    // An occupied port ends the program; the wait for Redis itself has no time limit.
    let failed: (error: unknown) => void = () => {};
    const unheard = new Promise<never>((_, reject) => {
      failed = reject;
    });
    const waiting = (reason: string) => void room.waitsFor('bus', reason).catch(failed);
    await Promise.race([bus.start({ waiting }), unheard]);
    room.there('bus');
  };
  return { bus, part: { name: 'bus', start, stop: () => bus.stop() } };
}
