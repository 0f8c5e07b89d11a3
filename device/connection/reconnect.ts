/** When to try again (PROTOCOL.md, section "Closing", C-2 to C-5). */
import { DEVICE_CLOSE, type ReconnectAdvice, reconnectAdvice } from '../../protocol/index.ts';

export interface ReconnectOptions {
  /** Upper end of the first back-off, milliseconds. */
  baseMs: number;
  /** Upper end of any back-off, milliseconds. */
  capMs: number;
  /** Spread of an immediate reconnection, milliseconds. */
  nowJitterMs: number;
  /** Immediate reconnections in a row; after that, one more every `nowRefillMs`. */
  nowBurst: number;
  nowRefillMs: number;
  /** A session that lasted this long resets the back-off, milliseconds. */
  stableAfterMs: number;
  /** Longest pause after 4400 to 4599, once all gateways said so (C-2), milliseconds. */
  refusedMs: number;
  /** Longest pause of a device that is blocked, of which at least half passes (S-8), milliseconds. */
  blockedMs: number;
  /** Longest pause after 4205, so that two programs with one key take turns (H-9), milliseconds. */
  replacedMs: number;
}

export const RECONNECT_DEFAULTS: ReconnectOptions = {
  baseMs: 1_000,
  capMs: 60_000,
  nowJitterMs: 200,
  nowBurst: 10,
  nowRefillMs: 10_000,
  stableAfterMs: 60_000,
  refusedMs: 3_600_000,
  blockedMs: 86_400_000,
  replacedMs: 900_000,
};

/** How a connection ended, as far as it matters to the next one. */
export interface Ended {
  code: number;
  retryAfterMs?: number | undefined;
  /** How long the session had been open; 0 where there was none. */
  sessionMs: number;
  /** How many gateways the device knows; 1 when absent. */
  gateways?: number;
}

export interface NextTry {
  advice: ReconnectAdvice;
  inMs: number;
}

export class Reconnect {
  readonly #options: ReconnectOptions;
  readonly #random: () => number;
  readonly #now: () => number;
  #failures = 0;
  /** Sessions that a newer session of the same device ended. */
  #replaced = 0;
  /** Ends with 4400 to 4599 in a row, without a session in between. */
  #refused = 0;
  /** Immediate reconnections left, and when they were counted, by the monotonic clock. */
  #hurries: number;
  #countedAt: number;

  constructor(
    options: Partial<ReconnectOptions> = {},
    random: () => number = Math.random,
    now: () => number = () => performance.now(),
  ) {
    this.#options = { ...RECONNECT_DEFAULTS, ...options };
    this.#random = random;
    this.#now = now;
    this.#hurries = this.#options.nowBurst;
    this.#countedAt = now();
  }

  next(ended: Ended): NextTry {
    const { baseMs, nowJitterMs, stableAfterMs, refusedMs, replacedMs } = this.#options;
    if (ended.sessionMs >= stableAfterMs) this.#failures = 0;
    if (ended.sessionMs > 0) this.#refused = 0;
    if (ended.sessionMs >= 2 * replacedMs) this.#replaced = 0;
    if (ended.code === DEVICE_CLOSE.replaced) {
      // Sessions that last do not count here: they last while the other program waits.
      const ceiling = Math.min(replacedMs, baseMs * 4 ** Math.min(this.#replaced++, 20));
      return { advice: reconnectAdvice(ended.code), inMs: this.#random() * ceiling };
    }
    const advice = reconnectAdvice(ended.code);
    // Not for ever: close codes are not signed, and a bug in one release must not make a fleet unreachable.
    if (advice === 'slow' && ++this.#refused >= (ended.gateways ?? 1)) {
      return { advice, inMs: this.#random() * refusedMs };
    }
    if (advice === 'now' && this.#mayHurry()) return { advice, inMs: this.#random() * nowJitterMs };
    // Retry-After is a floor (C-5); the jitter on top keeps those told the same number from returning
    // together.
    return { advice, inMs: (ended.retryAfterMs ?? 0) + this.#backOff() };
  }

  /** Until a blocked device asks again. */
  blocked(): number {
    return this.#options.blockedMs * (0.5 + this.#random() / 2);
  }

  /** A person or a program asked for a connection: earlier failures no longer count. */
  reset(): void {
    this.#failures = 0;
    this.#replaced = 0;
    this.#refused = 0;
    this.#hurries = this.#options.nowBurst;
  }

  /**
   * The network changed: failures on the old one do not count, and devices that changed together spread out.
   */
  afresh(): number {
    this.reset();
    return this.#random() * this.#options.nowJitterMs;
  }

  /** Orderly moves come one at a time; gateways that send a device back and forth hit this bound (C-4). */
  #mayHurry(): boolean {
    const { nowBurst, nowRefillMs } = this.#options;
    const now = this.#now();
    this.#hurries = Math.min(nowBurst, this.#hurries + (now - this.#countedAt) / nowRefillMs);
    this.#countedAt = now;
    if (this.#hurries < 1) return false;
    this.#hurries--;
    return true;
  }

  /** Exponential to the cap, then full jitter over all of it, so that a capped fleet stays spread out. */
  #backOff(): number {
    const { baseMs, capMs } = this.#options;
    const ceiling = Math.min(capMs, baseMs * 2 ** Math.min(this.#failures, 40));
    this.#failures++;
    return this.#random() * ceiling;
  }
}
