import { nanoid } from 'nanoid';
import type { GatewayCredentials, GatewayKeys } from '../../credentials.ts';
import type { Refusals } from './refusals.ts';
import { isGood, makeSeal, readSeal, type Seal, type SealedKind } from './seal.ts';

export interface SealOptions {
  /** Those of this gateway, the newest: what its bus writes is sealed with them, what it reads must be. */
  credentials?: () => GatewayCredentials;
  /** An administration server's: what its bus reads must be sealed, what it writes is. */
  gatewayKeys?: GatewayKeys;
}

/** Keys of earlier certificates that are still good for what was sealed before a renewal. */
const EARLIER_KEPT = 4;

/**
 * Seals what this program writes, and opens what others wrote. Without keys nothing is sealed: everybody who
 * may write to Redis is believed.
 */
export class Seals {
  /** Names this process in what it seals; a restart has another name, and begins again at 1. */
  readonly sender = nanoid();
  readonly refusals: Refusals;
  readonly #options: SealOptions;
  readonly #own = new Map<string, Uint8Array>();
  #sequence = 0;

  constructor(options: SealOptions, refusals: Refusals) {
    this.#options = options;
    this.refusals = refusals;
  }

  /** Whether what a gateway says must be sealed to be believed. */
  get checksGateways(): boolean {
    return this.#options.gatewayKeys !== undefined;
  }

  /** Whether what an administration server says must be. */
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
    const { gateway, serial, macKey } = own;
    return makeSeal(macKey, kind, { gateway, serial, sender, number }, parts);
  }

  /** For a gateway, by an administration server; `null`: it has no valid certificate any more. */
  async forGateway(
    kind: SealedKind,
    { gateway, serial }: { gateway: string; serial: string },
    parts: readonly Uint8Array[],
  ): Promise<Buffer | null> {
    const { sender } = this;
    const number = this.nextNumber();
    const key = await this.#options.gatewayKeys?.keyOf(gateway, serial);
    return key ? makeSeal(key, kind, { gateway, serial, sender, number }, parts) : null;
  }

  /** The seal, if it is good; `null` otherwise. */
  async open(
    kind: SealedKind,
    bytes: Uint8Array | null | undefined,
    parts: readonly Uint8Array[] = [],
  ): Promise<Seal | null> {
    const seal = readSeal(bytes);
    const key = seal && (await this.#keyFor(seal));
    return key && isGood(key, kind, seal, parts) ? seal : null;
  }

  async #keyFor({ gateway, serial }: Seal): Promise<Uint8Array | null> {
    const { credentials, gatewayKeys } = this.#options;
    if (gatewayKeys !== undefined) return gatewayKeys.keyOf(gateway, serial);
    const own = credentials?.();
    if (own === undefined || gateway !== own.gateway) return null;
    if (!this.#own.has(own.serial)) {
      this.#own.set(own.serial, own.macKey);
      for (const earliest of this.#own.keys()) {
        if (this.#own.size > EARLIER_KEPT) this.#own.delete(earliest);
      }
    }
    return this.#own.get(serial) ?? null;
  }
}
