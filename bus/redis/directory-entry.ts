/**
 * The stored form of a device in the directory: generation and digest, which Redis scripts add up, then the
 * encoded rest.
 */
import { createHash } from 'node:crypto';
import type { Edition } from '../../protocol/index.ts';
import type { DirectoryDevice } from '../bus.ts';
import { decode, encode } from '../encoding.ts';

/**
 * Characters of a generation, and of a digest in hexadecimal; `scripts/write-directory.ts` relies on both.
 */
export const GENERATION_LENGTH = 12;
const DIGEST_LENGTH = 12;
const PREFIX_LENGTH = GENERATION_LENGTH + DIGEST_LENGTH;

type StoredDevice = [
  publicKey: Uint8Array,
  state: DirectoryDevice['state'],
  groups: string[],
  membership: Uint8Array,
  membershipEdition: Edition,
];

/** The digest covers the id and the value: 48 bits, added up modulo 2^48. */
export function encodeDevice(device: DirectoryDevice): { digest: string; value: Buffer } {
  const stored: StoredDevice = [
    device.publicKey,
    device.state,
    device.groups,
    device.membership,
    device.membershipEdition,
  ];
  const value = encode(stored);
  const digest = createHash('sha1').update(device.id).update(value).digest('hex').slice(0, DIGEST_LENGTH);
  return { digest, value };
}

export function decodeDevice(id: string, stored: Buffer): DirectoryDevice {
  const [publicKey, state, groups, membership, membershipEdition] = decode<StoredDevice>(
    stored.subarray(PREFIX_LENGTH),
  );
  return {
    id,
    // Copies, because a kept record must not keep its receive buffer alive.
    publicKey: new Uint8Array(publicKey),
    state,
    groups,
    membership: new Uint8Array(membership),
    membershipEdition,
  };
}
