import type { Authenticated, Beat } from '../../protocol/index.ts';
import type { Nearness } from '../gateways/nearness.ts';

/** Unanswered beats after which a connection is lost (B-3). */
const UNANSWERED_MAX = 2;
/** Pause between beats that only report a change, milliseconds. */
const EARLY_EVERY_MS = 1_000;

export class Heartbeat {
  readonly #send: (beat: Beat) => void;
  readonly #lost: () => void;
  readonly #news: Nearness['news'] | undefined;
  /** What the next beat says once. */
  #next: Pick<Beat, 'status' | 'pass'> = {};
  #intervalMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #earlyTimer: ReturnType<typeof setTimeout> | undefined;
  #earlyAt = 0;
  #unanswered = 0;
  #verifyTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(send: (beat: Beat) => void, lost: () => void, news?: Nearness['news']) {
    this.#send = send;
    this.#lost = lost;
    this.#news = news;
  }

  /**
   * The first beat comes at a random moment of the interval, so that a fleet that came together beats apart.
   */
  start(intervalMs: number, random: () => number): void {
    this.stop();
    this.#intervalMs = intervalMs;
    this.#unanswered = 0;
    this.#timer = setTimeout(() => this.#tick(), random() * intervalMs);
    this.news();
  }

  stop(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#earlyTimer);
    clearTimeout(this.#verifyTimer);
    this.#timer = undefined;
    this.#earlyTimer = undefined;
    this.#verifyTimer = undefined;
    this.#next = {};
  }

  answered(): void {
    this.#unanswered = 0;
    clearTimeout(this.#verifyTimer);
    this.#verifyTimer = undefined;
  }

  /** The connection may be dead: if it does not answer a beat within this time, it is lost (G-14). */
  verify(withinMs: number): void {
    if (!this.#timer || this.#verifyTimer) return;
    this.#verifyTimer = setTimeout(() => this.#lost(), withinMs);
    this.#beat();
  }

  /** Sent once in this session, soon. */
  status(status: Authenticated): void {
    this.#say({ status });
  }

  /** Asks for the gateway's pass, soon (S-9). */
  askPass(): void {
    this.#say({ pass: true });
  }

  /** There may be new measurements to report. */
  news(): void {
    if (this.#news?.urgent && this.#timer) this.#early();
  }

  #beat(): void {
    const measured = this.#news?.take();
    const next = this.#next;
    this.#next = {};
    this.#send({ t: 'beat', ...next, ...(measured && { measured }) });
  }

  #say(news: Pick<Beat, 'status' | 'pass'>): void {
    if (!this.#timer) return;
    Object.assign(this.#next, news);
    this.#early();
  }

  #early(): void {
    if (this.#earlyTimer) return;
    const waitMs = this.#earlyAt === 0 ? 0 : this.#earlyAt + EARLY_EVERY_MS - performance.now();
    this.#earlyTimer = setTimeout(
      () => {
        this.#earlyTimer = undefined;
        this.#earlyAt = performance.now();
        this.#beat();
      },
      Math.max(0, waitMs),
    );
  }

  #tick(): void {
    if (this.#unanswered >= UNANSWERED_MAX) {
      this.#lost();
      return;
    }
    this.#unanswered++;
    this.#timer = setTimeout(() => this.#tick(), this.#intervalMs);
    this.#beat();
  }
}
