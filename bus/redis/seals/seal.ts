/**
 * A seal accompanies what a program writes into Redis for another one: whose key it uses, who wrote it, its
 * number, and a MAC (HMAC-SHA-512 cut to 32 bytes) over these and over the bytes. Each batch has one; single
 * messages have none.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { decode, encode } from '../../encoding.ts';

/** What it seals: a seal for one purpose is invalid for another. */
export type SealedKind = 'lease' | 'heard' | 'left' | 'receipts' | 'deliveries';

export interface SealSubject {
  /** Whose key it is. */
  gateway: string;
  serial: string;
  /** Who sealed it: an incarnation, or a random name of the process. */
  sender: string;
  /** The sender's number: a sequence, or a time in milliseconds. */
  number: number;
}

export interface Seal extends SealSubject {
  mac: Uint8Array;
}

const MAC_BYTES = 32;

export function makeSeal(
  key: Uint8Array,
  kind: SealedKind,
  subject: SealSubject,
  parts: readonly Uint8Array[],
): Buffer {
  const { gateway, serial, sender, number } = subject;
  return encode([gateway, serial, sender, number, macOf(key, kind, subject, parts)]);
}

/** `null` if it is not a seal. */
export function readSeal(bytes: Uint8Array | null | undefined): Seal | null {
  if (!bytes || bytes.length > 1_024) return null;
  try {
    const [gateway, serial, sender, number, mac] = decode<unknown[]>(bytes);
    if (![gateway, serial, sender].every((text) => typeof text === 'string')) return null;
    if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0) return null;
    if (!(mac instanceof Uint8Array) || mac.length !== MAC_BYTES) return null;
    return { gateway, serial, sender, number, mac } as Seal;
  } catch {
    return null;
  }
}

export function isGood(key: Uint8Array, kind: SealedKind, seal: Seal, parts: readonly Uint8Array[]): boolean {
  return timingSafeEqual(macOf(key, kind, seal, parts), seal.mac);
}

/** Each part follows its length, so that no two lists of parts have the same bytes. */
function macOf(
  key: Uint8Array,
  kind: SealedKind,
  { gateway, serial, sender, number }: SealSubject,
  parts: readonly Uint8Array[],
): Buffer {
  const head = JSON.stringify([gateway, serial, sender, number, ...parts.map(({ length }) => length)]);
  const hmac = createHmac('sha512', key).update(`pushpoint.v1 bus ${kind}\0${head}\0`);
  for (const part of parts) hmac.update(part);
  return hmac.digest().subarray(0, MAC_BYTES);
}
