/** Server keys: a chain of documents (K-1 to K-3), and bodies that break a rule. */
import { createHash } from 'node:crypto';
import { encodeServerKeys, LIMITS, type ServerKeys, serverKeysBytes } from '../../protocol/index.ts';
import { NEXT_KEY, NEXT_ROOT_KEY, NOW, ROOT_KEY, SERVER_KEY, signWith, type VectorKey } from './keys.ts';
import { array, bin, float64, hexOf, map, str, view } from './wire.ts';

const FIRST: ServerKeys = {
  epoch: 1,
  revision: 1,
  root: ROOT_KEY.publicKey,
  signing: [SERVER_KEY.publicKey],
  issuedAt: NOW,
};
const BOTH = { ...FIRST, revision: 2, signing: [SERVER_KEY.publicKey, NEXT_KEY.publicKey] };
const NEXT_ROOT = { ...BOTH, revision: 3, root: NEXT_ROOT_KEY.publicKey };

/** `sig` by the root that the keys name, whoever that is in `by`. */
function signedServerKeys(keys: ServerKeys, by: VectorKey, previous?: VectorKey) {
  const body = encodeServerKeys(keys);
  return {
    body,
    sig: signWith(by, serverKeysBytes(body)),
    ...(previous && { previousSig: signWith(previous, serverKeysBytes(body)) }),
  };
}

export function firstServerKeys() {
  return signedServerKeys(FIRST, ROOT_KEY);
}

export function nextRootServerKeys() {
  return signedServerKeys(NEXT_ROOT, NEXT_ROOT_KEY, ROOT_KEY);
}

export function serverKeysVectors() {
  const document = (
    name: string,
    keys: ServerKeys,
    takenNext: boolean,
    by: VectorKey,
    previous?: VectorKey,
  ) => {
    const { body, sig, previousSig } = signedServerKeys(keys, by, previous);
    return {
      name,
      keys: view(keys),
      fingerprint: createHash('sha256').update(keys.root).digest('base64url'),
      body: hexOf(body),
      signedBytes: hexOf(serverKeysBytes(body)),
      sig: hexOf(sig),
      ...(previousSig && { previousSig: hexOf(previousSig) }),
      takenNext,
    };
  };
  return {
    serverKeys: [
      document('the first', FIRST, true, ROOT_KEY),
      document('the same once more', FIRST, false, ROOT_KEY),
      document('signed by a signing key', BOTH, false, SERVER_KEY),
      document('the next signing key is trusted', BOTH, true, ROOT_KEY),
      document('an older one', FIRST, false, ROOT_KEY),
      document('another root without its predecessor', NEXT_ROOT, false, NEXT_ROOT_KEY),
      document('another root by its predecessor only', NEXT_ROOT, false, ROOT_KEY, ROOT_KEY),
      document('another root signed by both', NEXT_ROOT, true, NEXT_ROOT_KEY, ROOT_KEY),
      document('the previous root again', { ...BOTH, revision: 4 }, false, ROOT_KEY),
      document('a later epoch', { ...NEXT_ROOT, epoch: 2, revision: 1 }, true, NEXT_ROOT_KEY),
      document('an earlier epoch', { ...NEXT_ROOT, revision: 9 }, false, NEXT_ROOT_KEY),
    ],
    refusedServerKeys: refused(),
  };
}

function refused() {
  const key = (fill: number) => bin(new Uint8Array(32).fill(fill));
  const plain = {
    kind: str('keys'),
    root: key(1),
    signing: array(key(2)),
    epoch: '01',
    revision: '01',
    issuedAt: float64(NOW),
  };
  const body = (name: string, rule: string, change: Record<string, string>) => ({
    ...{ name, rule },
    body: map({ ...plain, ...change }),
  });
  return [
    body('another kind', 'F-6', { kind: str('pass') }),
    body('no signing key', 'K-1', { signing: array() }),
    body('more signing keys than four', 'F-6', { signing: array(key(2), key(3), key(4), key(5), key(6)) }),
    body('a signing key twice', 'K-1', { signing: array(key(2), key(2)) }),
    body('the root among the signing keys', 'K-1', { signing: array(key(2), key(1)) }),
    body('a short root', 'F-6', { root: bin(new Uint8Array(31)) }),
    body('a signing key that is text', 'F-6', { signing: array(str('key')) }),
    body('signing keys that are one key', 'F-6', { signing: key(2) }),
    body('epoch 0', 'F-5', { epoch: '00' }),
    body('revision 0', 'F-5', { revision: '00' }),
    body('an issue time that is text', 'F-5', { issuedAt: str('today') }),
    body('too long', 'F-3', { note: str('x'.repeat(LIMITS.serverKeysBytes)) }),
  ];
}
