import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Encrypted, GroupKeyName, SignedOrder } from '../../protocol/index.ts';
import { fromBase64url, toBase64url } from '../platform/base64url.ts';
import type { DeviceKey } from '../platform/crypto.ts';
import { privateFolder, replaceFile } from './file-mode.ts';
import { lockFolder } from './folder-lock.ts';
import { JournalFile } from './journal-file.ts';
import {
  type DeviceState,
  type DeviceStore,
  type GroupKey,
  type JournalEntry,
  JournalView,
  type StoredDevice,
} from './store.ts';

/** The journal is rewritten if it is longer than this and consists mostly of history. */
const COMPACT_ABOVE_BYTES = 1 << 20;

/**
 * A folder (mode 0700) with `device.json` (who the device is, mode 0600), `executions.log` (a journal, synced
 * to the disk before a command is acknowledged) and `lock`.
 */
export class FileStore implements DeviceStore {
  readonly folder: string;
  /**
   * Lines of the journal that could not be read at `open`: 1 after a crash in the middle of writing is
   * normal.
   */
  damagedLines = 0;
  #state: DeviceState = { gateways: [] };
  readonly #view = new JournalView();
  readonly #journal: JournalFile;
  readonly #release: () => Promise<void>;
  #compactAbove = COMPACT_ABOVE_BYTES;
  #compacting: Promise<void> | null = null;
  #order: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(folder: string, release: () => Promise<void>) {
    this.folder = folder;
    this.#journal = new JournalFile(join(folder, 'executions.log'));
    this.#release = release;
  }

  /** Creates the folder if it is missing. Throws `FolderInUse` while another program has it open. */
  static async open(folder: string): Promise<FileStore> {
    await privateFolder(folder);
    const release = await lockFolder(folder);
    const store = new FileStore(folder, release);
    try {
      await store.#read();
    } catch (error) {
      await release();
      throw error;
    }
    return store;
  }

  async load(): Promise<StoredDevice> {
    return this.#view.stored(this.#state);
  }

  saveState(state: DeviceState): Promise<void> {
    const text = `${JSON.stringify(toJson(state), null, 2)}\n`;
    return this.#inOrder(async () => {
      await replaceFile(join(this.folder, 'device.json'), text);
      this.#state = { ...state };
    });
  }

  async append(entries: JournalEntry[]): Promise<void> {
    if (this.#closed) throw new Error('the store is closed');
    for (const entry of entries) this.#view.apply(entry);
    // Not through #inOrder: the journal orders its writers itself, and they share a sync.
    if (this.#compacting) await this.#compacting;
    await this.#journal.append(entries.map(toLine));
    if (this.#journal.bytes > this.#compactAbove && !this.#compacting) {
      this.#compacting = this.#compact().finally(() => {
        this.#compacting = null;
      });
      await this.#compacting;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#order.catch(() => undefined);
    await this.#compacting;
    await this.#journal.close();
    await this.#release();
  }

  async #compact(): Promise<void> {
    await this.#journal.rewrite(this.#view.entries().map(toLine));
    // The live part itself may be long: leave room, so that the journal is not rewritten at every entry.
    this.#compactAbove = Math.max(COMPACT_ABOVE_BYTES, this.#journal.bytes * 2);
  }

  async #read(): Promise<void> {
    const path = join(this.folder, 'device.json');
    try {
      this.#state = fromJson(JSON.parse(await readFile(path, 'utf8')));
      await chmod(path, 0o600);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        throw new Error(`${path} cannot be read: ${(error as Error).message}`);
      }
    }
    const { entries, damagedLines } = await this.#journal.open();
    for (const entry of entries) this.#view.apply(fromLine(entry));
    this.damagedLines = damagedLines;
    if (damagedLines > 0 || this.#journal.bytes > COMPACT_ABOVE_BYTES) await this.#compact();
  }

  #inOrder<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#order.then(step, step);
    this.#order = done.catch(() => undefined);
    return done;
  }
}

/* Binary fields travel as base64url in both files. */

/** Sealed arguments and outcomes are the only binary data of the journal. */
function toLine(entry: JournalEntry): unknown {
  return withSealed(entry, ({ nonce, ct }) => ({ nonce: toBase64url(nonce), ct: toBase64url(ct) }));
}

function fromLine(line: unknown): JournalEntry {
  const binary = ({ nonce, ct }: Encrypted) => ({ nonce: fromBase64url(nonce), ct: fromBase64url(ct) });
  return withSealed(line as JournalEntry, binary) as JournalEntry;
}

function withSealed(entry: JournalEntry, change: (sealed: Encrypted) => unknown): unknown {
  if (!('put' in entry)) return entry;
  const { put } = entry;
  if ('command' in put && put.command.sealed) {
    const sealed = { ...put.command.sealed, ...(change(put.command.sealed) as object) };
    return { put: { ...put, command: { ...put.command, sealed } } };
  }
  if (put.state !== 'finished' || !put.sealed) return entry;
  return { put: { ...put, sealed: change(put.sealed) } };
}

function toJson(state: DeviceState): unknown {
  const { key, nextKey, identity, keys, membership, list, groupKeys } = state;
  const { gateways, older, home, measured, status } = state;
  return {
    key: key && keyToJson(key),
    nextKey: nextKey && keyToJson(nextKey),
    enrolledAs: state.enrolledAs,
    identity: identity && {
      ...identity,
      secret: toBase64url(identity.secret),
      formerSecret: identity.formerSecret && toBase64url(identity.formerSecret),
    },
    keys: keys && {
      body: toBase64url(keys.body),
      sig: toBase64url(keys.sig),
      previousSig: keys.previousSig && toBase64url(keys.previousSig),
    },
    membership: membership && orderToJson(membership),
    list: list && orderToJson(list),
    gateways,
    older,
    home,
    measured,
    status,
    groupKeys: groupKeys?.map((held) => ({ ...held, key: toBase64url(held.key) })),
  };
}

function orderToJson({ body, sig }: SignedOrder) {
  return { body: toBase64url(body), sig: toBase64url(sig) };
}

function orderFromJson({ body, sig }: Record<keyof SignedOrder, unknown>): SignedOrder {
  return { body: fromBase64url(body), sig: fromBase64url(sig, 64) };
}

function keyToJson({ publicKey, privateKey }: DeviceKey) {
  return { publicKey: toBase64url(publicKey), privateKey: toBase64url(privateKey) };
}

function keyFromJson({ publicKey, privateKey }: Record<keyof DeviceKey, unknown>): DeviceKey {
  return { publicKey: fromBase64url(publicKey, 32), privateKey: fromBase64url(privateKey, 32) };
}

// biome-ignore lint/suspicious/noExplicitAny: what this program wrote itself, read once
function fromJson(json: any): DeviceState {
  const state: DeviceState = { gateways: json.gateways };
  if (Array.isArray(json.older)) state.older = json.older;
  if (typeof json.home === 'string') state.home = json.home;
  if (typeof json.enrolledAs === 'string') state.enrolledAs = json.enrolledAs;
  if (json.measured) state.measured = Object.fromEntries(Object.entries(json.measured).filter(isMeasure));
  if (json.key) {
    state.key = keyFromJson(json.key);
  }
  if (json.nextKey) state.nextKey = keyFromJson(json.nextKey);
  if (json.identity) {
    const { deviceId, server, installation, generation, formerSecret } = json.identity;
    state.identity = {
      ...{ deviceId, server },
      ...(typeof installation === 'string' && { installation }),
      secret: fromBase64url(json.identity.secret, 32),
      generation,
      ...(formerSecret && { formerSecret: fromBase64url(formerSecret, 32) }),
    };
  }
  if (json.keys) {
    const { body, sig, previousSig } = json.keys;
    state.keys = {
      ...{ body: fromBase64url(body), sig: fromBase64url(sig, 64) },
      ...(previousSig && { previousSig: fromBase64url(previousSig, 64) }),
    };
  }
  if (json.membership) {
    state.membership = orderFromJson(json.membership);
  }
  if (json.list) state.list = orderFromJson(json.list);
  if (Number.isSafeInteger(json.status?.number)) state.status = json.status;
  if (Array.isArray(json.groupKeys)) state.groupKeys = json.groupKeys.map(groupKey);
  return state;
}

function groupKey({ group, epoch, number, key }: GroupKeyName & { key: string }): GroupKey {
  return { group, epoch, number, key: fromBase64url(key, 32) };
}

function isMeasure(entry: [string, unknown]): entry is [string, number] {
  return typeof entry[1] === 'number' && entry[1] >= 0;
}
