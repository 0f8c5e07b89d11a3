import { createHash } from 'node:crypto';
import type { ServerKeys as Keys, SignedServerKeys } from '../../protocol/index.ts';
import { PlainBox, type SecretBox } from '../at-rest/secret-box.ts';
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
  readonly #vault: KeyVault;
  /** Signs orders, passes and answers. */
  readonly signer: OrderSigner;
  #record: KeysRecord;

  private constructor(vault: KeyVault, record: KeysRecord, signer: OrderSigner) {
    this.#vault = vault;
    this.#record = record;
    this.signer = signer;
  }

  /** Rejects with `StoreSettingsError` when the key that signs is missing or does not open. */
  static async load({ meta, box = new PlainBox(), epoch = 1, now = Date.now }: ServerKeysParts) {
    const vault = new KeyVault(meta, box);
    if ((await meta.get(KEYS_ROW)) === null) await makeFirst({ meta, box, vault, epoch, now });
    const record = await inEpoch({ meta, vault, epoch, now });
    const active = await vault.find('signing key', record.active);
    if (!active) throw missing(record);
    return new ServerKeys(vault, record, new OrderSigner(active.privateKey));
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

  /** `null` while it is kept elsewhere. */
  root(): Promise<KeyPair | null> {
    return this.#vault.find('root key', this.keys.root);
  }
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
  const ours = toRow({ documents: [document], active: signing.publicKey, activeSince: at });
  const kept = await meta.setOnce(KEYS_ROW, ours);
  if (kept !== ours) {
    await vault.forget('root key', root.publicKey);
    const { active } = fromRow(kept);
    if (!Buffer.from(active).equals(signing.publicKey)) await vault.forget('signing key', signing.publicKey);
  }
  if (stored !== null) await meta.delete([FIRST_KEY]);
}

/** A restored database begins its epoch with a document that is newer than any from before. */
async function inEpoch({ meta, vault, epoch, now }: Making): Promise<KeysRecord> {
  for (;;) {
    const stored = await meta.get(KEYS_ROW);
    if (stored === null) throw new Error('the server keys were deleted');
    const record = fromRow(stored);
    const keys = keysOf(record);
    const root = keys.epoch < epoch ? await vault.find('root key', keys.root) : null;
    if (!root) return record;
    const renewed = { ...keys, epoch, revision: 1, issuedAt: Math.floor(now()) };
    const next = withDocument(record, signServerKeys(renewed, root));
    if (await meta.replace(KEYS_ROW, stored, toRow(next))) return next;
  }
}

function missing(record: KeysRecord): StoreSettingsError {
  const { epoch, revision } = keysOf(record);
  const key = Buffer.from(record.active).toString('base64url');
  return new StoreSettingsError(
    `server keys ${epoch}.${revision} name the signing key ${key}, and the database does not hold it: ` +
      'restore the newest backup of the database',
  );
}
