/**
 * A restored database begins its epoch with a document of server keys that is newer than any from before:
 * devices hold newer ones than the database has, and take it by K-3.
 */
import {
  decodeServerKeys,
  encodeServerKeys,
  type ServerKeys as Keys,
  succeedServerKeys,
} from '../../protocol/index.ts';
import { holdsKey } from '../key-proof.ts';
import type { Meta, Store } from '../store/store.ts';
import { type Carried, followedFrom } from './carried-keys.ts';
import type { KeyPair } from './key-vault.ts';
import {
  basisOf,
  fromRow,
  KEYS_ROW,
  type KeysRecord,
  keysOf,
  signServerKeys,
  toRow,
  withDocument,
} from './keys-record.ts';

export interface EpochKeysParts {
  epoch: number;
  at: number;
  /** What gateways have. */
  carried: Carried;
  /** The root key with this public part; `null`: it is kept elsewhere. */
  root: (publicKey: Uint8Array) => Promise<KeyPair | null>;
}

/**
 * Names the signing keys that the database has. Where the root key is kept elsewhere, the document waits for
 * its signature, and stays the same until then.
 */
export async function inEpoch(record: KeysRecord, parts: EpochKeysParts): Promise<KeysRecord> {
  const { epoch, at, carried } = parts;
  const keys = keysOf(record);
  if (keys.epoch >= epoch) return record;
  const followed = await followedFrom(keys.root, carried);
  const hasOther = followed !== null && !isSame(followed.keys.root, keys.root);
  const root = hasOther ? followed.keys.root : keys.root;
  const { carried: _, ...rest } = record;
  const based = hasOther ? { ...rest, carried: followed.documents } : rest;
  const next: Keys = { ...keys, root, epoch, revision: 1, issuedAt: Math.floor(at) };
  const pair = await parts.root(root);
  if (pair) return withDocument(based, signServerKeys(next, pair));
  return isPending(record, next) ? record : { ...based, pending: encodeServerKeys(next) };
}

/** The root that signs the next epoch's document; `null` where there are no server keys yet. */
export async function rootOfEpoch(meta: Meta, carried: Carried): Promise<Uint8Array | null> {
  const row = await meta.get(KEYS_ROW);
  if (row === null) return null;
  const { root } = keysOf(fromRow(row));
  return (await followedFrom(root, carried))?.keys.root ?? root;
}

/** Takes the root key's signature of the document that waits. `none`: none waits. */
export async function signEpochKeys(
  store: Store,
  sig: Uint8Array,
  at: number,
): Promise<'signed' | 'none' | 'wrong'> {
  return store.transaction(async (tx) => {
    const row = await tx.meta.get(KEYS_ROW);
    const record = row === null ? null : fromRow(row);
    if (row === null || !record?.pending) return 'none';
    const signed = { body: record.pending, sig };
    const keys = await succeedServerKeys(basisOf(record), signed, holdsKey);
    if (keys === null) return 'wrong';
    if (!(await tx.meta.replace(KEYS_ROW, row, toRow(withDocument(record, signed))))) return 'none';
    const { epoch, revision } = keys;
    const entry = { at, actor: 'system', action: 'keys.signed', subject: `${epoch}.${revision}` };
    await tx.audit.append({ ...entry, detail: { what: 'signed', epoch, revision } });
    return 'signed';
  });
}

/** Whether such a document waits already: somebody may be on the way to sign it. */
function isPending({ pending }: KeysRecord, { epoch, root }: Keys): boolean {
  const waits = pending && decodeServerKeys(pending);
  return waits !== undefined && waits.epoch === epoch && isSame(waits.root, root);
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
