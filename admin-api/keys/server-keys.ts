import { createHash } from 'node:crypto';
import {
  decodeServerKeys,
  editionOf,
  isNewer,
  type ServerKeys as Keys,
  type SignedServerKeys,
} from '../../protocol/index.ts';
import { PlainBox, type SecretBox } from '../at-rest/secret-box.ts';
import { OrderSigner } from '../order-signer.ts';
import type { Meta } from '../store/store.ts';
import { StoreSettingsError } from '../store/store-settings-error.ts';
import { type Carried, followedFrom } from './carried-keys.ts';
import { inEpoch } from './epoch-keys.ts';
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
} from './keys-record.ts';

/** The only signing key of installations from before the document of keys. */
const FIRST_KEY = 'signing-key';

/** Which key signs is not older news than this, milliseconds; see `KeysFollowers`. */
const STALE_MS = 60_000;

export interface ServerKeysParts {
  meta: Meta;
  box?: SecretBox | undefined;
  /** Of the installation. */
  epoch?: number;
  now?: () => number;
  /** What gateways have; none where that is not known. */
  carried?: Carried;
  /** A root key that is kept in a file. */
  rootKey?: KeyPair | undefined;
}

/** The server keys that the database has wait for their signature, and devices trust no others of it. */
export class ServerKeysHeld extends Error {
  override readonly name = 'ServerKeysHeld';
}

/**
 * The keys that sign for this installation (PROTOCOL.md, section "Server keys"): the signed document for
 * devices, and the key in use. The first start creates them in the store, so all administration servers on
 * one database use the same keys.
 */
export class ServerKeys {
  readonly #meta: Meta;
  readonly #box: SecretBox;
  /** Signs orders, passes and answers. */
  readonly signer: OrderSigner;
  #row: string;
  #record: KeysRecord;
  #following: Promise<unknown> = Promise.resolve();
  #followedAt = Date.now();

  private constructor(parts: { meta: Meta; box: SecretBox }, record: KeysRecord, signer: OrderSigner) {
    this.#meta = parts.meta;
    this.#box = parts.box;
    this.#record = record;
    this.#row = toRow(record);
    this.signer = signer;
  }

  /** Rejects with `StoreSettingsError` when the key that signs is missing or does not open. */
  static async load(parts: ServerKeysParts) {
    const { meta, box = new PlainBox(), epoch = 1, now = Date.now } = parts;
    const vault = new KeyVault(meta, box);
    if ((await meta.get(KEYS_ROW)) === null) await makeFirst({ meta, box, vault, epoch, now });
    const record = await ofEpoch(vault, { ...parts, epoch, now });
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

  /** Private keys, read and written through `meta`: that of a transaction, or the store's own. */
  vault(meta: Meta = this.#meta): KeyVault {
    return new KeyVault(meta, this.#box);
  }

  /** Takes up what the store has now; whether that is another record than before. One call at a time. */
  follow(): Promise<boolean> {
    const followed = this.#following.then(() => this.#follow());
    // What was read first must not be taken up last.
    this.#following = followed.catch(() => undefined);
    return followed;
  }

  /** Follows if this server has not for a while, as when it was paused: to be called before it signs. */
  async fresh(): Promise<void> {
    if (Math.abs(Date.now() - this.#followedAt) > STALE_MS) await this.follow();
  }

  async #follow(): Promise<boolean> {
    const row = await this.#meta.get(KEYS_ROW);
    this.#followedAt = Date.now();
    if (row === null || row === this.#row) return false;
    const record = fromRow(row);
    const active = await activeOf(this.vault(), record);
    this.signer.use(active.privateKey, currentOf(record));
    this.#record = record;
    this.#row = row;
    return true;
  }

  /**
   * Devices hold what gateways carry, and trust these keys only if they follow from that. Rejects with
   * `StoreSettingsError` when they do not, and with `ServerKeysHeld` when they will once the root key has
   * signed them.
   */
  async mustFollow(carried: Carried): Promise<void> {
    // Another server may have changed them since.
    await this.follow();
    const followed = await followedFrom(this.keys.root, carried);
    if (!followed || isAfter(this.keys, followed.keys)) return;
    const { pending } = this.#record;
    const newest = `gateways carry the server keys ${nameOf(followed.keys)}`;
    if (!pending || !isAfter(decodeServerKeys(pending), followed.keys)) {
      throw new StoreSettingsError(
        `${newest}, and the database has ${nameOf(this.keys)}: it is an older copy. Restore the newest ` +
          'backup; if there is no newer one, run `pushpoint restored`',
      );
    }
    throw new ServerKeysHeld(
      `${newest}, and the root key has to sign ${nameOf(decodeServerKeys(pending))} first. It is kept ` +
        'elsewhere: stop the administration servers, run `pushpoint restored --root-key FILE` with the ' +
        'same settings, then start them again',
    );
  }
}

/** Whether holders of `held` take these keys, or have them. */
function isAfter(keys: Keys, held: Keys): boolean {
  return !isNewer(editionOf(held), editionOf(keys)) && Buffer.compare(held.root, keys.root) === 0;
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

/** Servers that start at the same time agree on one root. */
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

/** The record in this epoch; servers that start at once write it once. */
async function ofEpoch(
  vault: KeyVault,
  { meta, epoch, now, carried = [], rootKey }: ServerKeysParts & { epoch: number; now: () => number },
): Promise<KeysRecord> {
  const root = async (publicKey: Uint8Array) =>
    rootKey && Buffer.compare(rootKey.publicKey, publicKey) === 0
      ? rootKey
      : vault.find('root key', publicKey);
  for (;;) {
    const stored = await meta.get(KEYS_ROW);
    if (stored === null) throw new Error('the server keys were deleted');
    const next = toRow(await inEpoch(fromRow(stored), { epoch, at: now(), carried, root }));
    if (next === stored || (await meta.replace(KEYS_ROW, stored, next))) return fromRow(next);
  }
}
