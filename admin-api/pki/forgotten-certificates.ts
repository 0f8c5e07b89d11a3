/**
 * Certificates that were issued after the backup with which the database began. What their keys authenticated
 * shows that they are of this installation, for nobody else derives these keys; their serial numbers say when
 * they were issued. Their gateways renew at once, which records them.
 */
import type { Store } from '../store/store.ts';
import { CERTIFICATE_LIFE_MS, timeOfSerial } from './issued-certificates.ts';

const REVOKED = 'gateway-revoked:';

/** Ends all certificates of the gateway, recorded or not. Resolves with the serials of those revoked now. */
export async function revokeAll(tx: Store, gateway: string, at: number): Promise<string[]> {
  await tx.meta.set(REVOKED + gateway, String(Math.floor(at)));
  return tx.gatewayCertificates.revoke(gateway, at);
}

/** When the gateway was revoked, if this certificate was issued before; milliseconds since the Unix epoch. */
export async function revocationOf(
  { meta }: Pick<Store, 'meta'>,
  gateway: string,
  serial: string,
): Promise<number | null> {
  const at = Number((await meta.get(REVOKED + gateway)) ?? 0);
  return at > timeOfSerial(serial) ? at : null;
}

/** Until when it is good at most, milliseconds since the Unix epoch. */
export async function endOfForgotten(
  store: Pick<Store, 'meta'>,
  gateway: string,
  serial: string,
): Promise<number> {
  return (await revocationOf(store, gateway, serial)) ?? timeOfSerial(serial) + CERTIFICATE_LIFE_MS;
}
