/** Credentials of gateways for tests of the bus, as an authority would give them. */
import { createHash } from 'node:crypto';
import type { GatewayCredentials, GatewayKeys } from '../../bus/credentials.ts';

function keyOf(gateway: string, serial: string): Buffer {
  return createHash('sha256').update(`${gateway} ${serial}`).digest();
}

export function credentialsOf(gateway: string, serial = 'serial-1'): GatewayCredentials {
  return { gateway, serial, macKey: keyOf(gateway, serial), fingerprint: new Uint8Array(32) };
}

export interface TestGatewayKeys extends GatewayKeys {
  /** By gateway, until when its certificates are good; those of others are good for ever. */
  ends: Map<string, number>;
}

export function gatewayKeys(): TestGatewayKeys {
  const ends = new Map<string, number>();
  return {
    ends,
    ownKey: keyOf('administration', 'server'),
    keyOf,
    goodUntil: async (gateway) => ends.get(gateway) ?? Number.POSITIVE_INFINITY,
  };
}

/** Of a bus that is a gateway's and an administration server's at once. */
export function bothSides(gateway = 'gw1') {
  return { credentials: () => credentialsOf(gateway), gatewayKeys: gatewayKeys() };
}
