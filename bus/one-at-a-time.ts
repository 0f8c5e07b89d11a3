/**
 * Runs a task one at a time, however often it is requested. A request during a run causes another run
 * afterwards, because the current one may have read its input too early.
 */
export class OneAtATime {
  readonly #work: () => Promise<void>;
  readonly #failed: (error: unknown) => void;
  #running: Promise<void> | undefined;
  /** The run after the current one, if requested. */
  #next: Promise<void> | undefined;
  #rounds = 0;

  constructor(work: () => Promise<void>, failed: (error: unknown) => void) {
    this.#work = work;
    this.#failed = failed;
  }

  /** Completed runs. */
  get rounds(): number {
    return this.#rounds;
  }

  get running(): boolean {
    return this.#running !== undefined;
  }

  /** Resolves when a run that began after the call has ended. Never rejects. */
  ask(): Promise<void> {
    // Also true if the previous run has ended and this one is about to begin.
    if (this.#next) return this.#next;
    if (!this.#running) return this.#run();
    this.#next = this.#running.then(() => {
      this.#next = undefined;
      return this.#run();
    });
    return this.#next;
  }

  /** The current run, if any; a run requested in the meantime still starts. */
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
