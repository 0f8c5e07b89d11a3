/** Commands at a steady rate while a scenario does what it does. */
import type { CommandType } from '../../protocol/command-types.ts';
import type { Given } from './given.ts';
import type { Ledger, SendOptions, Target } from './ledger.ts';

const TYPES: readonly CommandType[] = ['message', 'statistics', 'task.start', 'sync', 'task.stop'];
const TICK_MS = 50;

export interface TrafficOptions {
  /** Commands to single devices, of all types in turn. */
  perSecond: number;
  devices: readonly string[];
  /** Commands to whole groups, in turn, of these types in turn. */
  groups?: readonly Target[];
  groupTypes?: readonly CommandType[];
  groupEveryMs?: number;
  /** From 0 up to 1; `Math.random` when absent. */
  random?: () => number;
  /** What is asked of each command, and done once it was answered. */
  variety?: { options(): SendOptions; given(given: Given): Promise<void> };
  /** Most requests under way at once; more are not made meanwhile. No limit when absent. */
  atOnce?: number;
}

export class Traffic {
  readonly #ledger: Ledger;
  readonly #options: TrafficOptions;
  readonly #random: () => number;
  readonly #startedAt = performance.now();
  readonly #timer: NodeJS.Timeout;
  readonly #underWay = new Set<Promise<unknown>>();
  #sent = 0;
  #groupsSent = 0;
  #answered = 0;
  #paused = false;
  #failure: unknown;

  constructor(ledger: Ledger, options: TrafficOptions) {
    this.#ledger = ledger;
    this.#options = options;
    this.#random = options.random ?? Math.random;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Commands that were answered so far. */
  get answered(): number {
    return this.#answered;
  }

  /** Nothing more is sent until `resume`; resolves when all that was under way is answered. */
  async pause(): Promise<void> {
    this.#paused = true;
    await Promise.all(this.#underWay);
  }

  resume(): void {
    this.#paused = false;
  }

  /**
   * Resolves when all were answered, with how many per second it came to; rejects when one was refused.
   * Idempotent.
   */
  async stop(): Promise<{ commands: number; perSecond: number }> {
    clearInterval(this.#timer);
    const seconds = (performance.now() - this.#startedAt) / 1_000;
    await Promise.all(this.#underWay);
    if (this.#failure !== undefined) throw this.#failure;
    return { commands: this.#sent + this.#groupsSent, perSecond: this.#sent / seconds };
  }

  #tick(): void {
    const { perSecond, devices, groups = [], groupEveryMs = 3_000, groupTypes = ['sync'] } = this.#options;
    const elapsedMs = performance.now() - this.#startedAt;
    const { atOnce = Number.POSITIVE_INFINITY } = this.#options;
    while (this.#sent < (elapsedMs * perSecond) / 1_000) {
      const type = TYPES[this.#sent % TYPES.length] ?? 'message';
      const device = devices[Math.floor(this.#random() * devices.length)];
      this.#sent++;
      if (device !== undefined && !this.#paused && this.#underWay.size < atOnce) this.#send(type, [device]);
    }
    const group = groups[this.#groupsSent % groups.length];
    if (group === undefined || elapsedMs < this.#groupsSent * groupEveryMs) return;
    const type = groupTypes[this.#groupsSent % groupTypes.length] ?? 'sync';
    this.#groupsSent++;
    if (!this.#paused && this.#underWay.size < atOnce) this.#send(type, group);
  }

  #send(type: CommandType, target: Target): void {
    const { variety } = this.#options;
    const sending = this.#ledger
      .send(type, target, variety?.options())
      .then((given) => {
        this.#answered++;
        return variety?.given(given);
      })
      .catch((error: unknown) => {
        this.#failure ??= error;
      });
    this.#underWay.add(sending);
    void sending.then(() => this.#underWay.delete(sending));
  }
}
