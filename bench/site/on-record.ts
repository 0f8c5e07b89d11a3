import type { Bench } from '../scenario.ts';
import type { Site } from './site.ts';

/** Waits until the administration server has so many devices recorded as connected: an invariant. */
export async function ingested(bench: Bench, site: Site, devices: number): Promise<void> {
  const onRecord = async () => {
    const status = await site.get<{ devices: { connected: number } }>('/v1/status');
    return status.devices.connected;
  };
  const connected = await bench.until(devices, onRecord, 200);
  bench.invariant('devices connected and not recorded as connected', Math.max(0, devices - connected));
}
