/** Commands at a steady rate while a scenario does what it does. */
import type { CommandType } from '../../protocol/command-types.ts';
import type { Ledger, Target } from './ledger.ts';

const TYPES: readonly CommandType[] = ['message', 'statistics', 'task.start', 'sync'];
const TICK_MS = 50;

export interface TrafficOptions {
  /** Commands to single devices, of all types in turn. */
  perSecond: number;
  devices: readonly string[];
  /** Forced syncs of whole groups, in turn. */
  groups?: readonly Target[];
  groupEveryMs?: number;
}

export class Traffic {
  readonly #ledger: Ledger;
  readonly #options: TrafficOptions;
  readonly #startedAt = performance.now();
  readonly #timer: NodeJS.Timeout;
  readonly #underWay = new Set<Promise<unknown>>();
  #sent = 0;
  #groupsSent = 0;
  #failure: unknown;

  constructor(ledger: Ledger, options: TrafficOptions) {
    this.#ledger = ledger;
    this.#options = options;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Resolves when all were answered, with how many per second it came to; rejects when one was refused. */
  async stop(): Promise<{ commands: number; perSecond: number }> {
    clearInterval(this.#timer);
    const seconds = (performance.now() - this.#startedAt) / 1_000;
    await Promise.all(this.#underWay);
    if (this.#failure !== undefined) throw this.#failure;
    return { commands: this.#sent + this.#groupsSent, perSecond: this.#sent / seconds };
  }

  #tick(): void {
    const { perSecond, devices, groups = [], groupEveryMs = 3_000 } = this.#options;
    const elapsedMs = performance.now() - this.#startedAt;
    while (this.#sent < (elapsedMs * perSecond) / 1_000) {
      const type = TYPES[this.#sent % TYPES.length] ?? 'message';
      const device = devices[Math.floor(Math.random() * devices.length)];
      this.#sent++;
      if (device !== undefined) this.#send(type, [device]);
    }
    const group = groups[this.#groupsSent % groups.length];
    if (group === undefined || elapsedMs < this.#groupsSent * groupEveryMs) return;
    this.#groupsSent++;
    this.#send('sync', group);
  }

  #send(type: CommandType, target: Target): void {
    const sending = this.#ledger.send(type, target).catch((error: unknown) => {
      this.#failure ??= error;
    });
    this.#underWay.add(sending);
    void sending.then(() => this.#underWay.delete(sending));
  }
}
