import { createHash } from 'node:crypto';
import {
  editionOf,
  encodeServerKeys,
  isNewer,
  type ServerKeys as Keys,
  type SignedServerKeys,
  succeedServerKeys,
} from '../../protocol/index.ts';
import { PlainBox, type SecretBox } from '../at-rest/secret-box.ts';
import { holdsKey } from '../key-proof.ts';
import { OrderSigner } from '../order-signer.ts';
import type { Meta } from '../store/store.ts';
import { StoreSettingsError } from '../store/store-settings-error.ts';
import { fromDer, type KeyPair, KeyVault, newKeyPair } from './key-vault.ts';
import {
  fromRow,
  KEYS_ROW,
  type KeysRecord,
  keysOf,
  newestOf,
  signServerKeys,
  statesOf,
  toRow,
  withDocument,
} from './keys-record.ts';

/** The one signing key of installations from before there was a document of keys. */
const FIRST_KEY = 'signing-key';

export interface ServerKeysParts {
  meta: Meta;
  box?: SecretBox | undefined;
  /** Of the installation. */
  epoch?: number;
  now?: () => number;
}

/**
 * The keys that sign for this installation (PROTOCOL.md, section "Server keys"): the signed document in which
 * devices find them, and the key that signs now. Made at the first start, and kept in the store, so that all
 * administration servers on one database sign with the same.
 */
export class ServerKeys {
  readonly #meta: Meta;
  readonly #box: SecretBox;
  /** Signs orders, passes and answers. */
  readonly signer: OrderSigner;
  #row: string;
  #record: KeysRecord;

  private constructor(parts: { meta: Meta; box: SecretBox }, record: KeysRecord, signer: OrderSigner) {
    this.#meta = parts.meta;
    this.#box = parts.box;
    this.#record = record;
    this.#row = toRow(record);
    this.signer = signer;
  }

  /** Rejects with `StoreSettingsError` when the key that signs is missing or does not open. */
  static async load({ meta, box = new PlainBox(), epoch = 1, now = Date.now }: ServerKeysParts) {
    const vault = new KeyVault(meta, box);
    if ((await meta.get(KEYS_ROW)) === null) await makeFirst({ meta, box, vault, epoch, now });
    const record = await inEpoch({ meta, vault, epoch, now });
    const active = await activeOf(vault, record);
    return new ServerKeys({ meta, box }, record, new OrderSigner(active.privateKey, currentOf(record)));
  }

  get record(): KeysRecord {
    return this.#record;
  }

  /** The newest document. */
  get document(): SignedServerKeys {
    return newestOf(this.#record);
  }

  /** What holders of any earlier document need, in this order. */
  get documents(): readonly SignedServerKeys[] {
    return this.#record.documents;
  }

  get keys(): Keys {
    return keysOf(this.#record);
  }

  /** Of the installation: SHA-256 of its root key, 32 bytes. */
  get fingerprint(): Uint8Array {
    return createHash('sha256').update(this.keys.root).digest();
  }

  /** Private keys, read and written with `meta`: that of a transaction, or the own one. */
  vault(meta: Meta = this.#meta): KeyVault {
    return new KeyVault(meta, this.#box);
  }

  /** Takes up what the store has now; whether that is another record than before. */
  async follow(): Promise<boolean> {
    const row = await this.#meta.get(KEYS_ROW);
    if (row === null || row === this.#row) return false;
    const record = fromRow(row);
    const active = await activeOf(this.vault(), record);
    this.signer.use(active.privateKey, currentOf(record));
    this.#record = record;
    this.#row = row;
    return true;
  }

  /**
   * Rejects with `StoreSettingsError` when one of these documents, which gateways carry, came after what the
   * database has.
   */
  async mustBeNewest(carried: readonly SignedServerKeys[]): Promise<void> {
    let held = this.keys;
    for (const document of carried) held = (await succeedServerKeys(held, document, holdsKey)) ?? held;
    if (!isNewer(editionOf(held), editionOf(this.keys))) return;
    throw new StoreSettingsError(
      `gateways carry the server keys ${nameOf(held)}, and the database has ${nameOf(this.keys)}: it is an ` +
        'older copy. Restore the newest backup; if there is no newer one, run `pushpoint restored`',
    );
  }
}

/** Epoch and revision, for people. */
export function nameOf({ epoch, revision }: Pick<Keys, 'epoch' | 'revision'>): string {
  return `${epoch}.${revision}`;
}

function currentOf(record: KeysRecord): readonly Uint8Array[] {
  const { active, next } = statesOf(record);
  return next ? [active, next] : [active];
}

async function activeOf(vault: KeyVault, record: KeysRecord): Promise<KeyPair> {
  const active = await vault.find('signing key', record.active);
  if (active) return active;
  const key = Buffer.from(record.active).toString('base64url');
  throw new StoreSettingsError(
    `server keys ${nameOf(keysOf(record))} name the signing key ${key}, and the database does not hold it: ` +
      'restore the newest backup of the database',
  );
}

interface Making {
  meta: Meta;
  vault: KeyVault;
  epoch: number;
  now: () => number;
}

/** Servers that start at once agree on one root. */
async function makeFirst({ meta, box, vault, epoch, now }: Making & { box: SecretBox }): Promise<void> {
  const stored = await meta.get(FIRST_KEY);
  const signing = stored === null ? newKeyPair() : fromDer(await box.open('signing key', stored));
  const root = newKeyPair();
  await vault.keep('signing key', signing);
  await vault.keep('root key', root);
  const at = Math.floor(now());
  const document = signServerKeys(
    { epoch, revision: 1, root: root.publicKey, signing: [signing.publicKey], issuedAt: at },
    root,
  );
  const record = { documents: [document], active: signing.publicKey, activeSince: at, copied: true };
  const ours = toRow(record);
  const kept = await meta.setOnce(KEYS_ROW, ours);
  if (kept !== ours) {
    await vault.forget('root key', root.publicKey);
    const { active } = fromRow(kept);
    if (!Buffer.from(active).equals(signing.publicKey)) await vault.forget('signing key', signing.publicKey);
  }
  if (stored !== null) await meta.delete([FIRST_KEY]);
}

/**
 * A restored database begins its epoch with a document that is newer than any from before; where the root is
 * kept elsewhere, the document waits for its signature.
 */
async function inEpoch({ meta, vault, epoch, now }: Making): Promise<KeysRecord> {
  for (;;) {
    const stored = await meta.get(KEYS_ROW);
    if (stored === null) throw new Error('the server keys were deleted');
    const record = fromRow(stored);
    const keys = keysOf(record);
    if (keys.epoch >= epoch) return record;
    const root = await vault.find('root key', keys.root);
    const renewed = { ...keys, epoch, revision: 1, issuedAt: Math.floor(now()) };
    const next = root
      ? withDocument(record, signServerKeys(renewed, root))
      : { ...record, pending: encodeServerKeys(renewed) };
    if (await meta.replace(KEYS_ROW, stored, toRow(next))) return next;
  }
}
