/** The stored server keys without private keys: one row, replaced as a whole. */
import { sign } from 'node:crypto';
import {
  decodeServerKeys,
  encodeServerKeys,
  fromBase64url,
  LIMITS,
  type ServerKeys,
  type SignedServerKeys,
  serverKeysBytes,
  toBase64url,
} from '../../protocol/index.ts';
import type { KeyPair } from './key-vault.ts';

export const KEYS_ROW = 'server-keys';

export interface KeysRecord {
  /** The first of each root and the newest, the oldest first: each can be checked by the one before it. */
  documents: SignedServerKeys[];
  /** Public part of the signing key in use, and since when, milliseconds. */
  active: Uint8Array;
  activeSince: number;
  /** The directory no longer holds anything that a previous key signed. */
  copied: boolean;
  /** The next document, which waits for signatures by keys kept elsewhere. */
  pending?: Uint8Array;
  /**
   * Documents that gateways had and a restored database did not, with another root: `pending` follows them.
   */
  carried?: SignedServerKeys[];
}

/** The signing keys of the newest document, by their state in this installation. */
export interface KeyStates {
  /** Trusted, but no longer used. */
  previous: Uint8Array[];
  active: Uint8Array;
  /** Will be used when all gateways carry the document. */
  next: Uint8Array | null;
}

export function statesOf(record: KeysRecord): KeyStates {
  const { signing } = keysOf(record);
  const at = signing.findIndex((key) => Buffer.compare(key, record.active) === 0);
  return { previous: signing.slice(0, at), active: record.active, next: signing[at + 1] ?? null };
}

/** The content of the next document, without its number. */
export type KeysChange = Partial<Pick<ServerKeys, 'root' | 'signing' | 'epoch'>>;

/** The next document. */
export function nextKeys(record: KeysRecord, change: KeysChange, at: number): ServerKeys {
  const keys = { ...keysOf(record), root: basisOf(record).root };
  const later = change.epoch !== undefined && change.epoch > keys.epoch;
  return { ...keys, ...change, revision: later ? 1 : keys.revision + 1, issuedAt: Math.floor(at) };
}

export function newestOf({ documents }: KeysRecord): SignedServerKeys {
  const newest = documents.at(-1);
  if (!newest) throw new Error('no server keys are stored');
  return newest;
}

export function keysOf(record: KeysRecord): ServerKeys {
  return decodeServerKeys(newestOf(record).body);
}

/** What the next document follows. */
export function basisOf({ carried = [], ...record }: KeysRecord): ServerKeys {
  const last = carried.at(-1);
  return last ? decodeServerKeys(last.body) : keysOf(record);
}

/** Signed by the root that it names, and by the previous root if that is another one. */
export function signServerKeys(keys: ServerKeys, root: KeyPair, previous?: KeyPair): SignedServerKeys {
  const body = encodeServerKeys(keys);
  const by = ({ privateKey }: KeyPair) => new Uint8Array(sign(null, serverKeysBytes(body), privateKey));
  return { body, sig: by(root), ...(previous && { previousSig: by(previous) }) };
}

/**
 * With a newer document as the newest. Of roots beyond what an answer brings (K-7), the oldest are dropped:
 * who still trusts one of those has to be given a new one.
 */
export function withDocument(record: KeysRecord, signed: SignedServerKeys): KeysRecord {
  const { pending: _, carried = [], ...rest } = record;
  const all = [...record.documents, ...carried];
  const first = all.filter(({ previousSig }, index) => index === 0 || previousSig !== undefined);
  return { ...rest, documents: [...first, signed].slice(-LIMITS.serverKeyDocuments) };
}

type DocumentRow = { body: string; sig: string; previousSig?: string };

type Row = {
  documents: DocumentRow[];
  active: string;
  activeSince: number;
  copied: boolean;
  pending?: string;
  carried?: DocumentRow[];
};

export function toRow({ documents, active, activeSince, copied, pending, carried }: KeysRecord): string {
  const row: Row = {
    documents: documents.map(toDocumentRow),
    ...{ active: toBase64url(active), activeSince, copied },
    ...(pending && { pending: toBase64url(pending) }),
    ...(carried && { carried: carried.map(toDocumentRow) }),
  };
  return JSON.stringify(row);
}

export function fromRow(stored: string): KeysRecord {
  const { documents, active, activeSince, copied, pending, carried } = JSON.parse(stored) as Row;
  return {
    documents: documents.map(fromDocumentRow),
    ...{ active: fromBase64url(active), activeSince, copied },
    ...(pending !== undefined && { pending: fromBase64url(pending) }),
    ...(carried !== undefined && { carried: carried.map(fromDocumentRow) }),
  };
}

function toDocumentRow({ body, sig, previousSig }: SignedServerKeys): DocumentRow {
  return {
    ...{ body: toBase64url(body), sig: toBase64url(sig) },
    ...(previousSig && { previousSig: toBase64url(previousSig) }),
  };
}

function fromDocumentRow({ body, sig, previousSig }: DocumentRow): SignedServerKeys {
  return {
    ...{ body: fromBase64url(body), sig: fromBase64url(sig) },
    ...(previousSig !== undefined && { previousSig: fromBase64url(previousSig) }),
  };
}
