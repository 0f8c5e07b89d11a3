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
}

/** The keys of gateways, as administration servers derive them. */
export interface GatewayKeys {
  /** `null`: no such certificate, or it was revoked or has expired. */
  keyOf(gateway: string, serial: string): Promise<Uint8Array | null>;
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
