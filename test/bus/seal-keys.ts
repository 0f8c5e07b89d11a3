/** Credentials of gateways for tests of the bus, as an authority would give them. */
import { createHash } from 'node:crypto';
import type { GatewayCredentials, GatewayKeys } from '../../bus/credentials.ts';

function keyOf(gateway: string, serial: string): Buffer {
  return createHash('sha256').update(`${gateway} ${serial}`).digest();
}

export function credentialsOf(gateway: string, serial = 'serial-1'): GatewayCredentials {
  return { gateway, serial, macKey: keyOf(gateway, serial), fingerprint: new Uint8Array(32) };
}

/** Gateways in `revoked` have no key any more. */
export function gatewayKeys(revoked: ReadonlySet<string> = new Set()): GatewayKeys {
  return {
    ownKey: keyOf('administration', 'server'),
    keyOf: async (gateway, serial) => (revoked.has(gateway) ? null : keyOf(gateway, serial)),
  };
}

/** Of a bus that is a gateway's and an administration server's at once. */
export function bothSides(gateway = 'gw1') {
  return { credentials: () => credentialsOf(gateway), gatewayKeys: gatewayKeys() };
}
