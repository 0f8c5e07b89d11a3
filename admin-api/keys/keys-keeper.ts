import { nanoid } from 'nanoid';
import type { Logger } from 'pino';
import type { Lease } from '../../bus/bus.ts';
import { OneAtATime } from '../../bus/one-at-a-time.ts';
import { type Edition, editionOf, isNewer, NO_EDITION, toBase64url } from '../../protocol/index.ts';
import type { EventHub } from '../event-hub.ts';
import type { LeaseList } from '../live-workers.ts';
import type { Store } from '../store/store.ts';
import { KeysFollowers } from './keys-followers.ts';
import { KEYS_ROW, type KeysRecord, keysOf, statesOf, toRow } from './keys-record.ts';
import { nameOf, type ServerKeys } from './server-keys.ts';

const LOOK_MS = 1_000;
const LEASE = 'server-keys-keeper';
const LEASE_MS = 10_000;

export interface KeysKeeperParts {
  store: Store;
  serverKeys: ServerKeys;
  leases: LeaseList;
  /** Writes the directory. */
  directory: {
    gatewaysChangedSoon(): void;
    /** Signs everything in the directory again; returns whether it did. */
    rewrite(): Promise<boolean>;
    /** Resolves when what it was writing is written. */
    settled(): Promise<void>;
  };
  hub: Pick<EventHub, 'notify'>;
  now: () => number;
  log: Logger;
}

/**
 * Follows changes of the server keys, which any administration server on the database may have made, and
 * brings a rotation to its end: the next signing key is used once all gateways carry the document that names
 * it, and the directory is signed with it once no server writes with the earlier one.
 */
export class KeysKeeper {
  readonly #parts: KeysKeeperParts;
  readonly #owner = nanoid();
  readonly #looks: OneAtATime;
  readonly #followers: KeysFollowers;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: KeysKeeperParts) {
    this.#parts = parts;
    this.#followers = new KeysFollowers(parts.store.meta, this.#owner, parts.now);
    this.#looks = new OneAtATime(
      () => this.#look(),
      (error) => parts.log.warn({ err: error }, 'the round of server keys failed; trying again'),
    );
  }

  /** To be called before this server writes anything: the others wait for it from then on. */
  async announce(): Promise<void> {
    const { serverKeys } = this.#parts;
    await this.#followers.say(activeOf(serverKeys.record));
    // Another key may have come into use just before the others could know of this server.
    if (await serverKeys.follow()) await this.#followers.say(activeOf(serverKeys.record));
  }

  start(): void {
    this.#timer = setInterval(() => {
      if (!this.#looks.running) void this.look();
    }, LOOK_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looks.settled();
  }

  /** To be called when this server writes nothing more. */
  leave(): Promise<void> {
    return this.#followers.leave();
  }

  /** Resolves when the current work is done. */
  look(): Promise<void> {
    return this.#looks.ask();
  }

  async #look(): Promise<void> {
    const { store, serverKeys, directory, leases, now } = this.#parts;
    if (await serverKeys.follow()) directory.gatewaysChangedSoon();
    const { record } = serverKeys;
    const active = activeOf(record);
    if (!this.#followers.said(active)) {
      await directory.settled();
      await this.#followers.say(active);
    }
    const { next } = statesOf(record);
    if (!next && record.copied) return;
    if (!(await store.meta.hold(LEASE, this.#owner, LEASE_MS, now()))) return;
    if (next) {
      if (leases.known && waitingFor(record, leases.list()).length === 0) await this.#use(record, next);
    } else if (!(await this.#followers.anyElse(active)) && (await directory.rewrite())) {
      await this.#replace(record, { ...record, copied: true }, 'copied');
    }
  }

  async #use(record: KeysRecord, next: Uint8Array): Promise<void> {
    const activeSince = Math.floor(this.#parts.now());
    const after = { ...record, active: next, activeSince, copied: false };
    if (await this.#replace(record, after, 'used'))
      this.#parts.log.info({ keys: nameOf(keysOf(record)) }, 'the next signing key is in use');
  }

  async #replace(before: KeysRecord, after: KeysRecord, what: 'used' | 'copied'): Promise<boolean> {
    const { store, serverKeys, hub, now } = this.#parts;
    const done = await store.transaction(async (tx) => {
      if (!(await tx.meta.replace(KEYS_ROW, toRow(before), toRow(after)))) return false;
      const { epoch, revision } = keysOf(after);
      await tx.events.append([{ at: now(), type: 'keys.changed', data: { what, epoch, revision } }]);
      return true;
    });
    await serverKeys.follow();
    hub.notify();
    return done;
  }
}

function activeOf({ active }: KeysRecord): string {
  return toBase64url(active);
}

/** Live workers that have not sent the newest document to all their devices. */
export function waitingFor(record: KeysRecord, workers: readonly Lease[]): string[] {
  const edition = editionOf(keysOf(record));
  const has = (own: Edition = NO_EDITION) => !isNewer(edition, own);
  return workers.filter(({ load }) => !has(load.keys)).map(({ identity }) => identity.worker);
}
