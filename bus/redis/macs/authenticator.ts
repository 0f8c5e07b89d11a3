import { nanoid } from 'nanoid';
import type { GatewayCredentials, GatewayKeys } from '../../credentials.ts';
import { type EntryMac, isGood, type MacPurpose, makeEntryMac, readEntryMac } from './entry-mac.ts';
import type { Refusals } from './refusals.ts';

export interface AuthenticatorOptions {
  /** By the clock that all programs share. */
  now: () => number;
  /**
   * This gateway's newest credentials: its bus authenticates with them what it writes, and accepts only
   * entries that administration servers authenticated with them.
   */
  credentials?: () => GatewayCredentials;
  /** An administration server's keys: its bus authenticates what it writes, and accepts no other entries. */
  gatewayKeys?: GatewayKeys;
}

/**
 * Why a MAC does not count. `forged`: no program of this installation made it. `ended`: its certificate was
 * revoked or had expired when it was written.
 */
export type MacFault = 'forged' | 'ended';

/** Keys of earlier certificates, which still verify what was written before a renewal. */
const EARLIER_KEPT = 4;

/**
 * Authenticates with MACs what this program writes into Redis, and verifies what others wrote. Without keys
 * it adds no MACs, and accepts everything in Redis.
 */
export class Authenticator {
  /** Names this process in its MACs; after a restart it has another name, and counts from 1 again. */
  readonly sender = nanoid();
  readonly refusals: Refusals;
  readonly #options: AuthenticatorOptions;
  readonly #own = new Map<string, Uint8Array>();
  #sequence = 0;

  constructor(options: AuthenticatorOptions, refusals: Refusals) {
    this.#options = options;
    this.refusals = refusals;
  }

  /** Whether entries of gateways need a MAC. */
  get checksGateways(): boolean {
    return this.#options.gatewayKeys !== undefined;
  }

  /** Whether entries of administration servers need a MAC. */
  get checksServers(): boolean {
    return this.#options.credentials !== undefined;
  }

  /** Of the gateway whose program this is. */
  get gateway(): string | undefined {
    return this.#options.credentials?.().gateway;
  }

  nextNumber(): number {
    this.#sequence += 1;
    return this.#sequence;
  }

  /** This gateway's MAC; `null`: this program has no credentials. */
  byGateway(
    purpose: MacPurpose,
    { sender, number }: { sender: string; number: number },
    parts: readonly Uint8Array[] = [],
  ): Buffer | null {
    const own = this.#options.credentials?.();
    if (own === undefined) return null;
    this.#remember(own);
    const { gateway, serial, macKey } = own;
    return makeEntryMac(macKey, purpose, { gateway, serial, sender, number }, parts);
  }

  /** An administration server's MAC for a gateway; `null`: the gateway has no valid certificate any more. */
  async forGateway(
    purpose: MacPurpose,
    { gateway, serial }: { gateway: string; serial: string },
    parts: readonly Uint8Array[],
  ): Promise<Buffer | null> {
    const { gatewayKeys, now } = this.#options;
    if (gatewayKeys === undefined || (await gatewayKeys.goodUntil(gateway, serial)) <= now()) return null;
    const { sender } = this;
    const number = this.nextNumber();
    return makeEntryMac(
      gatewayKeys.keyOf(gateway, serial),
      purpose,
      { gateway, serial, sender, number },
      parts,
    );
  }

  /** The MAC, if it is valid. `writtenAt`: when the entry was written, if that was earlier than now. */
  async verify(
    purpose: MacPurpose,
    bytes: Uint8Array | null | undefined,
    parts: readonly Uint8Array[] = [],
    writtenAt = Number.POSITIVE_INFINITY,
  ): Promise<EntryMac | MacFault> {
    const entry = readEntryMac(bytes);
    const key = entry && this.#keyFor(entry);
    if (!key || !isGood(key, purpose, entry, parts)) return 'forged';
    const { gatewayKeys, now } = this.#options;
    if (gatewayKeys === undefined) return entry;
    const until = await gatewayKeys.goodUntil(entry.gateway, entry.serial);
    return Math.min(writtenAt, now()) < until ? entry : 'ended';
  }

  #keyFor({ gateway, serial }: EntryMac): Uint8Array | null {
    const { credentials, gatewayKeys } = this.#options;
    if (gatewayKeys !== undefined) return gatewayKeys.keyOf(gateway, serial);
    const own = credentials?.();
    if (own === undefined || gateway !== own.gateway) return null;
    this.#remember(own);
    return this.#own.get(serial) ?? null;
  }

  /** Servers use the key of the certificate that the lease names, until they have read the lease again. */
  #remember({ serial, macKey }: GatewayCredentials): void {
    if (this.#own.has(serial)) return;
    this.#own.set(serial, macKey);
    for (const earliest of this.#own.keys()) {
      if (this.#own.size > EARLIER_KEPT) this.#own.delete(earliest);
    }
  }
}
