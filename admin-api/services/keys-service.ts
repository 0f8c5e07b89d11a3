import {
  decodeServerKeys,
  encodeServerKeys,
  isStrictEd25519,
  type ServerKeys as Keys,
  type SignedServerKeys,
  succeedServerKeys,
} from '../../protocol/index.ts';
import type { EventHub } from '../event-hub.ts';
import { holdsKey } from '../key-proof.ts';
import { type KeyVault, newKeyPair } from '../keys/key-vault.ts';
import { waitingFor } from '../keys/keys-keeper.ts';
import {
  basisOf,
  fromRow,
  KEYS_ROW,
  type KeyStates,
  type KeysChange,
  type KeysRecord,
  keysOf,
  newestOf,
  nextKeys,
  signServerKeys,
  statesOf,
  toRow,
  withDocument,
} from '../keys/keys-record.ts';
import type { ServerKeys } from '../keys/server-keys.ts';
import type { LeaseList } from '../live-workers.ts';
import { Problem } from '../problems.ts';
import type { Store } from '../store/store.ts';

export interface KeysServiceParts {
  store: Store;
  serverKeys: ServerKeys;
  installation: { epoch: number };
  directory: { gatewaysChangedSoon(): void };
  leases: LeaseList;
  hub: Pick<EventHub, 'notify'>;
  now: () => number;
}

export interface KeysView extends KeyStates {
  keys: Keys;
  fingerprint: Uint8Array;
  document: SignedServerKeys;
  activeSince: number;
  /** Whether the root key is in the database or kept elsewhere. */
  rootHere: boolean;
  /** The next document, which waits for signatures. */
  pending: Uint8Array | null;
  /** Live workers that do not carry the newest document yet. */
  waitingFor: string[];
  /** Why previous keys cannot be retired now; `null`: they can. */
  notRetirable: string | null;
}

export type KeySignatures = { body: Uint8Array; sig?: Uint8Array; previousSig?: Uint8Array };

type What = 'rotated' | 'retired' | 'root-replaced' | 'signed';
type Step = (record: KeysRecord, vault: KeyVault) => Promise<KeysRecord>;

/** Changes of the server keys (PROTOCOL.md, section "Server keys"). Every method throws `Problem`. */
export class KeysService {
  readonly #parts: KeysServiceParts;

  constructor(parts: KeysServiceParts) {
    this.#parts = parts;
  }

  async view(): Promise<KeysView> {
    const { serverKeys, leases } = this.#parts;
    await serverKeys.follow();
    const { record, keys, fingerprint } = serverKeys;
    return {
      ...statesOf(record),
      ...{ keys, fingerprint, document: newestOf(record), activeSince: record.activeSince },
      rootHere: (await serverKeys.vault().find('root key', keys.root)) !== null,
      pending: record.pending ?? null,
      waitingFor: waitingFor(record, leases.list()),
      notRetirable: notRetirable(record),
    };
  }

  /** Creates a signing key: trusted at once, used when all gateways carry the document that names it. */
  rotate(actor: string): Promise<KeysView> {
    return this.#change(actor, 'rotated', async (record, vault) => {
      const { signing } = keysOf(record);
      if (statesOf(record).next) throw new Problem('conflict', 'The next signing key is not in use yet.');
      if (signing.length > 3) throw new Problem('conflict', 'There are four signing keys: retire old ones.');
      const next = newKeyPair();
      await vault.keep('signing key', next);
      return this.#propose(record, vault, { signing: [...signing, next.publicKey] });
    });
  }

  /** Signing keys before the one in use are no longer trusted. */
  retire(actor: string): Promise<KeysView> {
    return this.#change(actor, 'retired', async (record, vault) => {
      const reason = notRetirable(record);
      if (reason !== null) throw new Problem('conflict', reason);
      return this.#propose(record, vault, { signing: [record.active] });
    });
  }

  /** `publicKey`: that of a root key kept elsewhere; `null`: creates one in the database. */
  replaceRoot(publicKey: Uint8Array | null, actor: string): Promise<KeysView> {
    return this.#change(actor, 'root-replaced', async (record, vault) => {
      if (publicKey && !isStrictEd25519(publicKey))
        throw new Problem('bad-request', 'This is no public key of Ed25519.');
      const made = publicKey ? null : newKeyPair();
      if (made) await vault.keep('root key', made);
      const root = made?.publicKey ?? (publicKey as Uint8Array);
      const { root: before, signing } = keysOf(record);
      if ([before, ...signing].some((key) => Buffer.compare(key, root) === 0))
        throw new Problem('conflict', 'This key is in use already.');
      return this.#propose(record, vault, { root });
    });
  }

  /** Accepts signatures of the pending document by keys kept elsewhere. */
  sign({ body, ...sigs }: KeySignatures, actor: string): Promise<KeysView> {
    return this.#change(actor, 'signed', async (record, vault) => {
      if (!record.pending || Buffer.compare(record.pending, body) !== 0)
        throw new Problem('conflict', 'These server keys do not wait for a signature.');
      const own = await signedHere(record, decodeServerKeys(body), vault);
      const complete = await completed(record, { body, ...own, ...sigs });
      if (!complete) throw new Problem('bad-request', 'The signatures are not those of the root keys.');
      return published(record, complete, vault);
    });
  }

  async #propose(record: KeysRecord, vault: KeyVault, change: KeysChange): Promise<KeysRecord> {
    const { installation, now } = this.#parts;
    const keys = nextKeys(record, { ...change, epoch: installation.epoch }, now());
    const body = encodeServerKeys(keys);
    const signed = { body, ...(await signedHere(record, keys, vault)) };
    const complete = await completed(record, signed);
    return complete ? published(record, complete, vault) : { ...record, pending: body };
  }

  async #change(actor: string, what: What, step: Step): Promise<KeysView> {
    const { store, serverKeys, directory, hub, now } = this.#parts;
    await store.transaction(async (tx) => {
      const row = await tx.meta.get(KEYS_ROW);
      if (row === null) throw new Error('the server keys were deleted');
      const next = await step(fromRow(row), serverKeys.vault(tx.meta));
      if (!(await tx.meta.replace(KEYS_ROW, row, toRow(next))))
        throw new Problem('conflict', 'The server keys were changed meanwhile.');
      const { epoch, revision } = keysOf(next);
      const data = { what: next.pending ? 'pending' : what, epoch, revision };
      const subject = `${epoch}.${revision}`;
      const at = now();
      await tx.audit.append({ at, actor, action: `keys.${what}`, subject, detail: data });
      await tx.events.append([{ at, type: 'keys.changed', data }]);
    });
    await serverKeys.follow();
    directory.gatewaysChangedSoon();
    hub.notify();
    return this.view();
  }
}

function notRetirable(record: KeysRecord): string | null {
  const { previous, next } = statesOf(record);
  if (next) return 'The next signing key is not in use yet.';
  if (previous.length === 0) return 'There is no earlier signing key.';
  if (!record.copied)
    return 'Memberships by an earlier key may still be with gateways, or come there; try again in a minute.';
  return null;
}

/** The signatures by those root keys that are in the database. */
async function signedHere(
  record: KeysRecord,
  keys: Keys,
  vault: KeyVault,
): Promise<Partial<Pick<SignedServerKeys, 'sig' | 'previousSig'>>> {
  const { root } = basisOf(record);
  const own = await vault.find('root key', keys.root);
  const sig = own ? { sig: signServerKeys(keys, own).sig } : {};
  if (Buffer.compare(root, keys.root) === 0) return sig;
  const previous = await vault.find('root key', root);
  return { ...sig, ...(previous && { previousSig: signServerKeys(keys, previous).sig }) };
}

/** The document, if these are all signatures that it needs. */
async function completed(
  record: KeysRecord,
  { sig, ...rest }: KeySignatures,
): Promise<SignedServerKeys | null> {
  if (!sig) return null;
  const signed = { ...rest, sig };
  return (await succeedServerKeys(basisOf(record), signed, holdsKey)) && signed;
}

/** Deletes keys that are no longer trusted. */
async function published(record: KeysRecord, signed: SignedServerKeys, vault: KeyVault): Promise<KeysRecord> {
  const [before, after] = [keysOf(record), decodeServerKeys(signed.body)];
  const isKept = (key: Uint8Array) =>
    [after.root, ...after.signing].some((other) => Buffer.compare(key, other) === 0);
  for (const key of before.signing) if (!isKept(key)) await vault.forget('signing key', key);
  if (!isKept(before.root)) await vault.forget('root key', before.root);
  return withDocument(record, signed);
}
