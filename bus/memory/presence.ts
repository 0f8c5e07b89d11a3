import type { Holder, Presence } from '../bus.ts';

export class MemoryPresence implements Presence {
  readonly #holders = new Map<string, Holder>();
  readonly #assertRunning: () => void;
  readonly #isAlive: (incarnation: string) => boolean;
  #lastSession = 0;
  #sweep: MapIterator<[string, Holder]> | null = null;

  /** `isAlive`: whether that incarnation has a lease. */
  constructor(assertRunning: () => void, isAlive: (incarnation: string) => boolean) {
    this.#assertRunning = assertRunning;
    this.#isAlive = isAlive;
  }

  async claim(...[incarnation, claims]: Parameters<Presence['claim']>): ReturnType<Presence['claim']> {
    this.#assertRunning();
    return claims.map(({ device, heldSession }) => {
      const previous = this.#holders.get(device);
      if (heldSession !== undefined && previous !== undefined && previous.session > heldSession) return null;
      const session = this.#nextSession(Math.max(previous?.session ?? 0, heldSession ?? 0));
      this.#holders.set(device, { incarnation, session });
      return previous === undefined ? { session } : { session, previous };
    });
  }

  async release(...[incarnation, sessions]: Parameters<Presence['release']>): Promise<void> {
    this.#assertRunning();
    for (const { device, session } of sessions) {
      const holder = this.#holders.get(device);
      if (holder?.incarnation === incarnation && holder.session === session) this.#holders.delete(device);
    }
  }

  async locate(devices: readonly string[]): Promise<(Holder | null)[]> {
    this.#assertRunning();
    return devices.map((device) => this.#holders.get(device) ?? null);
  }

  async sweep(limit: number): Promise<number> {
    this.#assertRunning();
    let removed = 0;
    this.#sweep ??= this.#holders.entries();
    for (let looked = 0; looked < limit; looked += 1) {
      const next = this.#sweep.next();
      if (next.done) {
        this.#sweep = null;
        break;
      }
      const [device, { incarnation }] = next.value;
      if (this.#isAlive(incarnation)) continue;
      this.#holders.delete(device);
      removed += 1;
    }
    return removed;
  }

  stop(): void {
    this.#holders.clear();
  }

  /**
   * Microseconds of the time of day, so that numbers grow over a restart of the process as well, and never
   * less than one above every number known, so that they grow when the clock is set back.
   */
  #nextSession(atLeast: number): number {
    this.#lastSession = Math.max(Date.now() * 1000, this.#lastSession + 1, atLeast + 1);
    return this.#lastSession;
  }
}
