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
  /** By gateway, or by gateway and serial: until when its certificates are good; `null`: not known. */
  ends: Map<string, number | null>;
}

export function gatewayKeys(): TestGatewayKeys {
  const ends = new Map<string, number | null>();
  const endOf = (name: string) => ends.get(name);
  return {
    ends,
    ownKey: keyOf('administration', 'server'),
    keyOf,
    goodUntil: async (gateway, serial) => {
      const until = endOf(`${gateway} ${serial}`);
      if (until !== undefined) return until;
      const all = endOf(gateway);
      return all === undefined ? Number.POSITIVE_INFINITY : all;
    },
  };
}

/** Of a bus that is a gateway's and an administration server's at once. */
export function bothSides(gateway = 'gw1') {
  return { credentials: () => credentialsOf(gateway), gatewayKeys: gatewayKeys() };
}
