/**
 * An entry MAC accompanies what a program writes into Redis for another one. It says whose key it uses, who
 * wrote the entry, and its number; the MAC (HMAC-SHA-512 cut to 32 bytes) is over these and over the bytes.
 * Each batch has one; single messages have none.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { decode, encode } from '../../encoding.ts';

/** What it authenticates: a MAC for one purpose is invalid for another. */
export type MacPurpose = 'lease' | 'heard' | 'left' | 'receipts' | 'deliveries';

export interface MacSubject {
  /** Whose key it is. */
  gateway: string;
  serial: string;
  /** Who wrote it: an incarnation, or a random name of the process. */
  sender: string;
  /** The sender's number: a sequence, or a time in milliseconds. */
  number: number;
}

export interface EntryMac extends MacSubject {
  mac: Uint8Array;
}

const MAC_BYTES = 32;

export function makeEntryMac(
  key: Uint8Array,
  purpose: MacPurpose,
  subject: MacSubject,
  parts: readonly Uint8Array[],
): Buffer {
  const { gateway, serial, sender, number } = subject;
  return encode([gateway, serial, sender, number, macOf(key, purpose, subject, parts)]);
}

/** `null` if it is not an entry MAC. */
export function readEntryMac(bytes: Uint8Array | null | undefined): EntryMac | null {
  if (!bytes || bytes.length > 1_024) return null;
  try {
    const [gateway, serial, sender, number, mac] = decode<unknown[]>(bytes);
    if (![gateway, serial, sender].every((text) => typeof text === 'string')) return null;
    if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0) return null;
    if (!(mac instanceof Uint8Array) || mac.length !== MAC_BYTES) return null;
    return { gateway, serial, sender, number, mac } as EntryMac;
  } catch {
    return null;
  }
}

export function isGood(
  key: Uint8Array,
  purpose: MacPurpose,
  entry: EntryMac,
  parts: readonly Uint8Array[],
): boolean {
  return timingSafeEqual(macOf(key, purpose, entry, parts), entry.mac);
}

/** Each part follows its length, so that no two lists of parts have the same bytes. */
function macOf(
  key: Uint8Array,
  purpose: MacPurpose,
  { gateway, serial, sender, number }: MacSubject,
  parts: readonly Uint8Array[],
): Buffer {
  const head = JSON.stringify([gateway, serial, sender, number, ...parts.map(({ length }) => length)]);
  const hmac = createHmac('sha512', key).update(`pushpoint.v1 bus ${purpose}\0${head}\0`);
  for (const part of parts) hmac.update(part);
  return hmac.digest().subarray(0, MAC_BYTES);
}
