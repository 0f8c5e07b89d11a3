/** The device SDK for browsers: the same as for Node, with WebSocket, WebCrypto and IndexedDB of the page. */
import { webCrypto } from './crypto-web.ts';
import { PushpointDevice as Device, type DeviceOptions } from './device.ts';
import { type EnrollOptions, enroll as enrollDevice } from './enroll.ts';
import { watchOnline } from './network-web.ts';
import { webProbe } from './probe-web.ts';
import { webDial } from './socket-web.ts';
import type { DeviceIdentity } from './store.ts';
import { webLegDial } from './tunnels/dial-web.ts';

export { webCrypto } from './crypto-web.ts';
export { watchOnline } from './network-web.ts';
export * from './parts.ts';
export { webProbe } from './probe-web.ts';
export { webDial } from './socket-web.ts';
export { webLegDial } from './tunnels/dial-web.ts';
export { StoreInUse } from './web-lock.ts';
export { WebStore, type WebStoreOptions } from './web-store.ts';

export class PushpointDevice extends Device {
  constructor(options: Omit<DeviceOptions, 'crypto' | 'dial'> & Partial<DeviceOptions>) {
    const { tunnels } = options;
    super({
      crypto: webCrypto,
      dial: webDial(),
      probe: webProbe,
      watchNetwork: watchOnline,
      ...options,
      // A page has no TCP: it serves streams itself or not at all.
      ...(tunnels ? { tunnels: { dial: webLegDial(), ...tunnels } } : {}),
    });
  }
}

type Defaulted = 'crypto' | 'platform' | 'software';

/** See enroll.ts. Throws `EnrollError`. */
export function enroll(
  options: Omit<EnrollOptions, Defaulted> & Partial<EnrollOptions>,
): Promise<DeviceIdentity> {
  return enrollDevice({ crypto: webCrypto, platform: 'browser', software: 'pushpoint-device', ...options });
}
