import { nodeFrameCipher } from '../platform/frame-cipher-node.ts';
import { wsLegDial } from './dial-node.ts';
import { tcpConnect } from './tcp-node.ts';
import { type DeviceTunnelOptions, DeviceTunnels, type MakeTunnels } from './tunnels.ts';

/** Tunnels of a device in Node: streams are connected to what `allow` names by TCP. */
export function tcpTunnels(options: DeviceTunnelOptions): MakeTunnels {
  const node = {
    dial: wsLegDial(),
    cipher: nodeFrameCipher,
    connect: tcpConnect,
    allocate: Buffer.allocUnsafeSlow,
  };
  return (events) => new DeviceTunnels({ ...node, ...options }, events);
}
