import { nanoid } from 'nanoid';
import type { GatewayCredentials, GatewayKeys } from '../../credentials.ts';
import type { Refusals } from './refusals.ts';
import { isGood, makeSeal, readSeal, type Seal, type SealedKind } from './seal.ts';

export interface SealOptions {
  /** By the clock that all programs share. */
  now: () => number;
  /**
   * This gateway's newest credentials: its bus seals what it writes with them, and accepts only what is
   * sealed with them.
   */
  credentials?: () => GatewayCredentials;
  /** An administration server's keys: its bus seals what it writes, and accepts only what is sealed. */
  gatewayKeys?: GatewayKeys;
}

/**
 * Why a seal does not count. `forged`: nobody of this installation made it. `ended`: its certificate was
 * revoked or had expired when it was written.
 */
export type Unsealed = 'forged' | 'ended';

/** Keys of earlier certificates, which still open what was sealed before a renewal. */
const EARLIER_KEPT = 4;

/**
 * Seals what this program writes, and checks what others wrote. Without keys nothing is sealed, and
 * everything in Redis is accepted.
 */
export class Seals {
  /** Names this process in its seals; after a restart it has another name, and counts from 1 again. */
  readonly sender = nanoid();
  readonly refusals: Refusals;
  readonly #options: SealOptions;
  readonly #own = new Map<string, Uint8Array>();
  #sequence = 0;

  constructor(options: SealOptions, refusals: Refusals) {
    this.#options = options;
    this.refusals = refusals;
  }

  /** Whether messages of gateways must be sealed. */
  get checksGateways(): boolean {
    return this.#options.gatewayKeys !== undefined;
  }

  /** Whether messages of administration servers must be sealed. */
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

  /** By this gateway; `null`: this program has no credentials. */
  byGateway(
    kind: SealedKind,
    { sender, number }: { sender: string; number: number },
    parts: readonly Uint8Array[] = [],
  ): Buffer | null {
    const own = this.#options.credentials?.();
    if (own === undefined) return null;
    this.#remember(own);
    const { gateway, serial, macKey } = own;
    return makeSeal(macKey, kind, { gateway, serial, sender, number }, parts);
  }

  /** An administration server's seal for a gateway; `null`: the gateway no longer has a valid certificate. */
  async forGateway(
    kind: SealedKind,
    { gateway, serial }: { gateway: string; serial: string },
    parts: readonly Uint8Array[],
  ): Promise<Buffer | null> {
    const { gatewayKeys, now } = this.#options;
    if (gatewayKeys === undefined || (await gatewayKeys.goodUntil(gateway, serial)) <= now()) return null;
    const { sender } = this;
    const number = this.nextNumber();
    return makeSeal(gatewayKeys.keyOf(gateway, serial), kind, { gateway, serial, sender, number }, parts);
  }

  /** The seal, if it is valid. `writtenAt`: when it was written, if that was earlier than now. */
  async open(
    kind: SealedKind,
    bytes: Uint8Array | null | undefined,
    parts: readonly Uint8Array[] = [],
    writtenAt = Number.POSITIVE_INFINITY,
  ): Promise<Seal | Unsealed> {
    const seal = readSeal(bytes);
    const key = seal && this.#keyFor(seal);
    if (!key || !isGood(key, kind, seal, parts)) return 'forged';
    const { gatewayKeys, now } = this.#options;
    if (gatewayKeys === undefined) return seal;
    const until = await gatewayKeys.goodUntil(seal.gateway, seal.serial);
    return Math.min(writtenAt, now()) < until ? seal : 'ended';
  }

  #keyFor({ gateway, serial }: Seal): Uint8Array | null {
    const { credentials, gatewayKeys } = this.#options;
    if (gatewayKeys !== undefined) return gatewayKeys.keyOf(gateway, serial);
    const own = credentials?.();
    if (own === undefined || gateway !== own.gateway) return null;
    this.#remember(own);
    return this.#own.get(serial) ?? null;
  }

  /** Servers seal for the certificate that sealed the lease, until they have read the lease again. */
  #remember({ serial, macKey }: GatewayCredentials): void {
    if (this.#own.has(serial)) return;
    this.#own.set(serial, macKey);
    for (const earliest of this.#own.keys()) {
      if (this.#own.size > EARLIER_KEPT) this.#own.delete(earliest);
    }
  }
}
