/** Documents of server keys for tests, signed by a root that the test made. */
import { createHash } from 'node:crypto';
import { type KeyPair, newKeyPair } from '../admin-api/keys/key-vault.ts';
import { signServerKeys } from '../admin-api/keys/keys-record.ts';
import type { Edition, SignedServerKeys } from '../protocol/index.ts';

export { type KeyPair, newKeyPair };

/** `previous`: the root before this one, if this document replaces it. */
export function signedKeys(
  root: KeyPair,
  [epoch, revision]: Edition,
  signing: Uint8Array[],
  previous?: KeyPair,
): SignedServerKeys {
  return signServerKeys({ epoch, revision, root: root.publicKey, signing, issuedAt: 1 }, root, previous);
}

export function fingerprintOf({ publicKey }: KeyPair): Uint8Array {
  return createHash('sha256').update(publicKey).digest();
}
