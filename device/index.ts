/**
 * The device SDK for Node.
 *
 *     const store = await FileStore.open('./device-state');
 *     await enroll({ server: 'https://admin.example.net', token, store, name: 'till-7' });
 *     const device = new PushpointDevice({ store });
 *     device.handle('sync', async () => ({ revision: await synchronise() }), { safeToRepeat: true });
 *     await device.start();
 */

import { statusReports } from './connection/status.ts';
import { PushpointDevice as Device, type DeviceOptions } from './device.ts';
import { type EnrollOptions, enroll as enrollDevice } from './enroll.ts';
import { nearness } from './gateways/nearness.ts';
import type { Probe, ProbeOptions } from './gateways/probe.ts';
import { httpProbe } from './gateways/probe-node.ts';
import { nodeCrypto } from './platform/crypto-node.ts';
import { proxyFetch } from './platform/proxy-node.ts';
import { wsDial } from './platform/socket-node.ts';
import { keyRotation } from './rotate-key.ts';
import type { DeviceIdentity } from './storage/store.ts';
import type { DeviceTunnelOptions, MakeTunnels } from './tunnels/tunnels.ts';
import { tcpTunnels } from './tunnels/tunnels-node.ts';

export { watchInterfaces } from './gateways/network-node.ts';
export { type HttpProbeOptions, httpProbe } from './gateways/probe-node.ts';
export * from './parts.ts';
export { nodeCrypto } from './platform/crypto-node.ts';
export { type WsOptions, wsDial } from './platform/socket-node.ts';
export { FileStore } from './storage/file-store.ts';
export { FolderInUse } from './storage/folder-lock.ts';
export { type LegDialOptions, wsLegDial } from './tunnels/dial-node.ts';
export { joinSocket, joinStreams, tcpConnect } from './tunnels/tcp-node.ts';
export { tcpTunnels } from './tunnels/tunnels-node.ts';

export interface NodeDeviceOptions extends Omit<DeviceOptions, 'crypto' | 'dial' | 'tunnels' | 'nearness'> {
  crypto?: DeviceOptions['crypto'];
  dial?: DeviceOptions['dial'];
  /** Measures how far gateways are (G-10). */
  probe?: Probe;
  /** How and how often; `false`: never, so that the list is used in its order. */
  probing?: Partial<ProbeOptions> | false;
  /** Options alone are those of `tcpTunnels`. */
  tunnels?: DeviceTunnelOptions | MakeTunnels;
}

export class PushpointDevice extends Device {
  constructor({ tunnels, probe = httpProbe(), probing, ...options }: NodeDeviceOptions) {
    super({
      crypto: nodeCrypto,
      dial: wsDial(),
      nearness: probing === false ? undefined : nearness(probe, probing),
      keyRotation,
      statusReports,
      fetch: proxyFetch(),
      ...options,
      ...(tunnels && { tunnels: typeof tunnels === 'function' ? tunnels : tcpTunnels(tunnels) }),
    });
  }
}

type Defaulted = 'crypto' | 'platform' | 'software';

/** See enroll.ts. Throws `EnrollError`. */
export function enroll(
  options: Omit<EnrollOptions, Defaulted> & Partial<EnrollOptions>,
): Promise<DeviceIdentity> {
  return enrollDevice({
    crypto: nodeCrypto,
    fetch: proxyFetch(),
    platform: `${process.platform}-${process.arch}`,
    software: 'pushpoint-device',
    ...options,
  });
}
