import type { Logger } from 'pino';

/** How long it is shown to people, and the shortest time between two log lines, milliseconds. */
const TOLD_MS = 60 * 60_000;
const LOGGED_EVERY_MS = 60_000;

export type RefusedKind = 'lease' | 'receipts' | 'deliveries' | 'epoch';

/** Entries in Redis that no program of the installation wrote: never used, but counted and shown. */
export class Refusals {
  readonly counts: Record<RefusedKind, number> = { lease: 0, receipts: 0, deliveries: 0, epoch: 0 };
  readonly #log: Logger;
  #last: { text: string; at: number } | null = null;
  readonly #loggedAt = new Map<RefusedKind, number>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** `what`: such as the incarnation or the entry. */
  refuse(kind: RefusedKind, what: string): void {
    const at = performance.now();
    this.counts[kind] += 1;
    this.#last = { text: `${kind} (${what})`, at };
    if (at - (this.#loggedAt.get(kind) ?? Number.NEGATIVE_INFINITY) < LOGGED_EVERY_MS) return;
    this.#loggedAt.set(kind, at);
    this.#log.error(
      { kind, what, count: this.counts[kind] },
      'refused an entry in Redis that no program of this installation wrote',
    );
  }

  warnings(): string[] {
    if (this.#last === null || performance.now() - this.#last.at > TOLD_MS) return [];
    const count = Object.values(this.counts).reduce((sum, each) => sum + each, 0);
    return [
      `${count} entries in Redis were refused, which no program of this installation wrote; ` +
        `the last: ${this.#last.text}`,
    ];
  }
}
