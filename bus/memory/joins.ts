import { JOINS, type JoinRequested, type Joins } from '../bus.ts';

export class MemoryJoins implements Joins {
  readonly #assertRunning: () => void;
  readonly #now: () => number;
  readonly #requests = new Map<string, { request: Uint8Array; until: number }>();
  readonly #answers = new Map<string, { answer: Uint8Array; until: number }>();

  constructor(assertRunning: () => void, now: () => number) {
    this.#assertRunning = assertRunning;
    this.#now = now;
  }

  async ask(id: string, request: Uint8Array): Promise<'asked' | 'full'> {
    this.#forget();
    if (request.length > JOINS.requestBytesMax) throw new RangeError('the request to join is too long');
    if (!this.#requests.has(id) && this.#requests.size >= JOINS.requestsMax) return 'full';
    this.#requests.set(id, { request: Uint8Array.from(request), until: this.#now() + JOINS.keptMs });
    return 'asked';
  }

  async waiting(): Promise<JoinRequested[]> {
    this.#forget();
    return [...this.#requests].map(([id, { request }]) => ({ id, request }));
  }

  async answer(id: string, answer: Uint8Array): Promise<void> {
    this.#forget();
    this.#requests.delete(id);
    this.#answers.set(id, { answer: Uint8Array.from(answer), until: this.#now() + JOINS.keptMs });
  }

  async drop(ids: readonly string[]): Promise<void> {
    this.#forget();
    for (const id of ids) this.#requests.delete(id);
  }

  async answerTo(id: string): Promise<Uint8Array | null> {
    this.#forget();
    return this.#answers.get(id)?.answer ?? null;
  }

  #forget(): void {
    this.#assertRunning();
    for (const kept of [this.#requests, this.#answers]) {
      for (const [id, { until }] of kept) if (until <= this.#now()) kept.delete(id);
    }
  }
}
