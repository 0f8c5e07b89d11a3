/** The device SDK for browsers: the same as for Node, with WebSocket, WebCrypto and IndexedDB of the page. */

import { PushpointDevice as Device, type DeviceOptions } from './device.ts';
import { type EnrollOptions, enroll as enrollDevice } from './enroll.ts';
import { watchOnline } from './gateways/network-web.ts';
import { webCrypto } from './platform/crypto-web.ts';
import { webDial } from './platform/socket-web.ts';
import type { DeviceIdentity } from './storage/store.ts';

export { watchOnline } from './gateways/network-web.ts';
export { webProbe } from './gateways/probe-web.ts';
export * from './parts.ts';
export { webCrypto } from './platform/crypto-web.ts';
export { webDial } from './platform/socket-web.ts';
export { StoreInUse } from './storage/web-lock.ts';
export { WebStore, type WebStoreOptions } from './storage/web-store.ts';
export { webLegDial } from './tunnels/dial-web.ts';
export { webTunnels } from './tunnels/tunnels-web.ts';

export class PushpointDevice extends Device {
  constructor(options: Omit<DeviceOptions, 'crypto' | 'dial'> & Partial<DeviceOptions>) {
    super({
      crypto: webCrypto,
      dial: webDial(),
      watchNetwork: watchOnline,
      ...options,
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
