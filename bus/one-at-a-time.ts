/**
 * Work that is asked for more often than it is done: one run at a time, and what is asked for during a run is
 * done after it, since that run may have looked too early.
 */
export class OneAtATime {
  readonly #work: () => Promise<void>;
  readonly #failed: (error: unknown) => void;
  #running: Promise<void> | undefined;
  /** The run after the one under way, once somebody asked for it. */
  #next: Promise<void> | undefined;
  #rounds = 0;

  constructor(work: () => Promise<void>, failed: (error: unknown) => void) {
    this.#work = work;
    this.#failed = failed;
  }

  /** Runs that came to an end. */
  get rounds(): number {
    return this.#rounds;
  }

  get running(): boolean {
    return this.#running !== undefined;
  }

  /** Resolves when a run has ended that began after the call. Never rejects. */
  ask(): Promise<void> {
    // Also when the run before has ended and this one begins in a moment.
    if (this.#next) return this.#next;
    if (!this.#running) return this.#run();
    this.#next = this.#running.then(() => {
      this.#next = undefined;
      return this.#run();
    });
    return this.#next;
  }

  /** The run under way, if there is one; what was asked for meanwhile is begun all the same. */
  async settled(): Promise<void> {
    await this.#running;
  }

  #run(): Promise<void> {
    const running = this.#work()
      .catch(this.#failed)
      .then(() => {
        this.#rounds++;
        if (this.#running === running) this.#running = undefined;
      });
    this.#running = running;
    return running;
  }
}
