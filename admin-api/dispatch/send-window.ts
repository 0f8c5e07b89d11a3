/**
 * Unacknowledged executions of one worker, so that a slow worker delays only its own devices. About as many
 * as a worker has devices, so that a command to all is sent before the answers are written.
 */
const PER_WORKER = 20_000;
/** Of all workers together: as many as the ledger applies well before OverdueExecutions sends them again. */
const IN_ALL = 150_000;

/** How many more executions may go out. */
export class SendWindow {
  readonly #sent: Map<string, number>;
  #inAll = 0;

  /** `sent`: unacknowledged executions by incarnation; this object counts on from there. */
  constructor(sent: Map<string, number>) {
    this.#sent = sent;
    for (const count of sent.values()) this.#inAll += count;
  }

  /** How many more this worker has room for. */
  left(incarnation: string): number {
    return Math.max(0, Math.min(PER_WORKER - (this.#sent.get(incarnation) ?? 0), IN_ALL - this.#inAll));
  }

  /** Takes room for one execution; `false` if there is none. */
  take(incarnation: string): boolean {
    if (this.left(incarnation) === 0) return false;
    this.#sent.set(incarnation, (this.#sent.get(incarnation) ?? 0) + 1);
    this.#inAll++;
    return true;
  }
}
