import type { Bench } from '../scenario.ts';
import type { Site } from './site.ts';

/** Waits until the administration server has so many devices on record as connected: an invariant. */
export async function ingested(bench: Bench, site: Site, devices: number): Promise<void> {
  const deadline = performance.now() + 60_000 + devices;
  for (;;) {
    const status = await site.get<{ devices: { connected: number } }>('/v1/status');
    const missing = devices - status.devices.connected;
    if (missing <= 0 || performance.now() > deadline) {
      bench.invariant('devices connected and not on record as connected', Math.max(0, missing));
      return;
    }
    await bench.pause(200);
  }
}
