/**
 * Decides before the upgrade whether to accept a new connection. A refusal at this point costs a few
 * microseconds; a handshake costs a thousand times as much.
 */
import type { Refusal } from '../refusal.ts';

export interface AdmissionState {
  leaving: boolean;
  /** Alternate gateways: the value of `Pushpoint-Gateways` (C-5). */
  elsewhere(): string;
  full: boolean;
  crowded: boolean;
  /** The missing dependency that prevents admission; `null` when there is none. */
  missing: string | null;
}

/** Why upgrades are refused; metrics count by these names. */
export type RefusalReason = 'leaving' | 'full' | 'crowded' | 'not-ready' | 'rate' | 'subprotocol';

/**
 * The last tokens are reserved for prefixes that took few of them, so that a fast prefix does not keep others
 * out.
 */
const RESERVE = 0.25;
/** Share of a second's tokens from which on a prefix counts as fast. */
const FAST = 0.05;

export interface GatekeeperParts {
  perSecond: number;
  state: () => AdmissionState;
  count: (reason: RefusalReason) => void;
}

export class Gatekeeper {
  readonly #parts: GatekeeperParts;
  #tokens: number;
  #filledAt = performance.now();
  /** Tokens taken by each prefix in this second. */
  readonly #taken = new Map<string, number>();
  #second = 0;

  constructor(parts: GatekeeperParts) {
    this.#parts = parts;
    this.#tokens = parts.perSecond * 2;
  }

  /** Decides over a device's WebSocket or its probe. */
  refusal(prefix: string): Refusal | null {
    const { leaving, full, crowded, missing, elsewhere } = this.#parts.state();
    if (leaving) return this.#refuse('leaving', 'the gateway leaves', 1, elsewhere());
    if (full) return this.#refuse('full', 'the gateway is full', 15, elsewhere());
    if (missing !== null) return this.#refuse('not-ready', `the gateway is not ready: ${missing}`, 3);
    if (crowded) return this.#refuse('crowded', 'too many connections before welcome', 2);
    return this.hurried(prefix);
  }

  /** Decides by the rate alone. */
  hurried(prefix: string): Refusal | null {
    if (this.#takeToken(prefix)) return null;
    return this.#refuse('rate', 'too many connections at once', 2);
  }

  #takeToken(prefix: string): boolean {
    const now = performance.now();
    this.#tokens = Math.min(
      this.#parts.perSecond * 2,
      this.#tokens + ((now - this.#filledAt) * this.#parts.perSecond) / 1_000,
    );
    this.#filledAt = now;
    const second = Math.floor(now / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#taken.clear();
    }
    const taken = this.#taken.get(prefix) ?? 0;
    const fast = taken >= Math.max(1, this.#parts.perSecond * FAST);
    if (this.#tokens < (fast ? 1 + Math.floor(this.#parts.perSecond * RESERVE) : 1)) return false;
    this.#tokens -= 1;
    this.#taken.set(prefix, taken + 1);
    return true;
  }

  /** Spreads the delay over twice `seconds`, so that clients refused together do not return together. */
  #refuse(kind: RefusalReason, reason: string, seconds: number, gateways = ''): Refusal {
    this.#parts.count(kind);
    return { reason, retryAfterSeconds: seconds + Math.floor(Math.random() * (seconds + 1)), gateways };
  }
}
