import type { GatewayAddress, SignedPass } from '../../protocol/index.ts';

/** A gateway without a good pass is asked for one again, and left again for others, after so long (G-17). */
const ASK_AGAIN_MS = 60_000;
const TRY_OTHERS_MS = 3_600_000;

export interface VouchingParts {
  /** For how many milliseconds the administration server vouches for the gateway; 0: it does not. */
  vouched(gateway: string, pass: SignedPass | undefined): Promise<number>;
  /** Asks the gateway for its pass. */
  ask(): void;
  list(): readonly GatewayAddress[];
  /** Goes to the first of these that admits the device. */
  leaveFor(others: GatewayAddress[]): void;
  /** Asks the administration server where to go: its list may be newer than what this gateway brings. */
  askWhere(): void;
  random: () => number;
}

/**
 * Keeps the device at gateways that the administration server vouches for (G-17). With one that it does not
 * vouch for, it stays only when no other admitted it.
 */
export class Vouching {
  readonly #parts: VouchingParts;
  /** Names of gateways that came without a good pass. */
  readonly #doubted = new Set<string>();
  /** The session under way; a new object for each. */
  #session: { timer?: ReturnType<typeof setTimeout> } | null = null;
  #triedAt = Number.NEGATIVE_INFINITY;
  #askedFor: number | undefined;

  constructor(parts: VouchingParts) {
    this.#parts = parts;
  }

  /** The gateway of the session sent its pass, or none with `welcome`. */
  async told(gateway: string, pass: SignedPass | undefined): Promise<void> {
    this.left();
    const session = {};
    this.#session = session;
    const goodMs = await this.#parts.vouched(gateway, pass);
    if (this.#session !== session) return;
    if (goodMs > 0) this.#good(gateway, goodMs);
    else this.#bad(gateway);
  }

  /** The session is over. */
  left(): void {
    clearTimeout(this.#session?.timer);
    this.#session = null;
  }

  /** Asks for the next one at half its time, and again, until none is left. */
  #good(gateway: string, goodMs: number): void {
    this.#doubted.delete(gateway);
    const soonMs = Math.max(ASK_AGAIN_MS, goodMs * (0.4 + 0.2 * this.#parts.random()));
    this.#after(Math.min(soonMs, goodMs), () => {
      this.#parts.ask();
      void this.told(gateway, undefined);
    });
  }

  #bad(gateway: string): void {
    this.#doubted.add(gateway);
    const now = performance.now();
    if (now - this.#triedAt >= TRY_OTHERS_MS) {
      this.#triedAt = now;
      const others = this.#parts.list().filter(({ name }) => !this.#doubted.has(name));
      if (others.length > 0) {
        this.#parts.leaveFor(others);
        return;
      }
    }
    this.#after(ASK_AGAIN_MS * (0.5 + this.#parts.random()), () => {
      this.#parts.ask();
      // Once for each time that no other took the device.
      if (this.#askedFor !== this.#triedAt) this.#parts.askWhere();
      this.#askedFor = this.#triedAt;
      if (performance.now() - this.#triedAt >= TRY_OTHERS_MS) this.#doubted.clear();
      this.#bad(gateway);
    });
  }

  #after(ms: number, run: () => void): void {
    if (this.#session) this.#session.timer = setTimeout(run, ms);
  }
}
