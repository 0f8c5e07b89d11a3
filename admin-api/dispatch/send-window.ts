/**
 * Unacknowledged executions of one worker, so that one that is slow holds up only its own. About as many
 * devices as a worker has, so that a command to everyone is on its way before the answers are written.
 */
const PER_WORKER = 20_000;
/**
 * Of all workers together: what the ledger takes in well within the time after which OverdueExecutions sends
 * again.
 */
const IN_ALL = 150_000;

/** How much more may go out. */
export class SendWindow {
  readonly #sent: Map<string, number>;
  #inAll = 0;

  /** `sent`: unacknowledged executions by the incarnation they went through; counted on here. */
  constructor(sent: Map<string, number>) {
    this.#sent = sent;
    for (const count of sent.values()) this.#inAll += count;
  }

  /** For so many there is room now. */
  left(incarnation: string): number {
    return Math.max(0, Math.min(PER_WORKER - (this.#sent.get(incarnation) ?? 0), IN_ALL - this.#inAll));
  }

  /** Takes room for one; `false` when there is none. */
  take(incarnation: string): boolean {
    if (this.left(incarnation) === 0) return false;
    this.#sent.set(incarnation, (this.#sent.get(incarnation) ?? 0) + 1);
    this.#inAll++;
    return true;
  }
}
