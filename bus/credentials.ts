import type { Installation } from './bus.ts';

/**
 * What lets gateways and administration servers trust each other through a Redis that others can write to.
 */
export interface GatewayCredentials {
  /** The gateway's name. */
  gateway: string;
  /** Of its certificate. */
  serial: string;
  /** 32 bytes, shared with the administration servers, which derive it from their master secret. Secret. */
  macKey: Uint8Array;
  /** Of the installation, 32 bytes: the keys of administration servers are those that its root key signed. */
  fingerprint: Uint8Array;
  /** Of the server that issued the certificate, with the MAC of its epoch (`EpochMac`) as `seal`. */
  installation?: Installation & { seal: string };
}

/** The keys of gateways, as administration servers derive them. */
export interface GatewayKeys {
  /** Of the certificate with this serial, in any state: it shows who wrote an entry, not that they may. */
  keyOf(gateway: string, serial: string): Uint8Array;
  /**
   * Until when entries authenticated with this certificate's key count, milliseconds since the Unix epoch:
   * until it ends or was revoked; 0 for a certificate of another gateway.
   */
  goodUntil(gateway: string, serial: string): Promise<number>;
  /** 32 bytes that only administration servers have. */
  readonly ownKey: Uint8Array;
}

/** An incarnation names its gateway, so that a gateway cannot speak for another gateway's workers. */
export function incarnationOf(gateway: string, unique: string): string {
  return `${gateway}~${unique}`;
}

export function isIncarnationOf(gateway: string, incarnation: string): boolean {
  return incarnation.startsWith(`${gateway}~`);
}

export function isWorkerOf(gateway: string, worker: string): boolean {
  return worker.startsWith(`${gateway}/`);
}
