import { webFrameCipher } from '../platform/frame-cipher-web.ts';
import { webLegDial } from './dial-web.ts';
import { type DeviceTunnelOptions, DeviceTunnels, type MakeTunnels } from './tunnels.ts';

/** Tunnels of a page, which has no TCP: the page serves streams itself, with `serve`. */
export function webTunnels(options: DeviceTunnelOptions): MakeTunnels {
  const dial = options.dial ?? webLegDial();
  return (events) => new DeviceTunnels({ cipher: webFrameCipher, ...options, dial }, events);
}
