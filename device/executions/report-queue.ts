/**
 * Reports about executions, at the rate that a gateway allows. Only ids wait here; each message is created
 * when its turn comes, from the latest state, so nothing piles up while the device is offline.
 */
import type { Link, Report } from './authenticated-link.ts';

export interface ReportQueueOptions {
  /** Limits on frames: per second on average, and at once. */
  framesPerSecond: number;
  burst: number;
  /** First pause before an unsettled result is sent again, milliseconds; it then doubles. */
  resendAfterMs: number;
  /** How long an acknowledgement waits for the result, which makes it unnecessary, milliseconds (D-3). */
  ackAfterMs: number;
}

export const WORDS_DEFAULTS: ReportQueueOptions = {
  framesPerSecond: 50,
  burst: 100,
  resendAfterMs: 120_000,
  ackAfterMs: 20,
};

const RESEND_CAP_MS = 3_600_000;
/** With this much waiting in the socket, nothing is added. */
const BUFFERED_MAX = 256 * 1024;

export class ReportQueue {
  readonly #newest: (id: string) => Report | null;
  readonly #options: ReportQueueOptions;
  #link: Link | null = null;
  /** New reports come before repetitions, each id at most once. */
  readonly #news = new Set<string>();
  readonly #repeats = new Set<string>();
  /** Acknowledgements that wait for a result, and the timers that send them. */
  readonly #held = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #resend = new Map<string, { dueAt: number; pauseMs: number }>();
  readonly #random: () => number;
  #tokens: number;
  #filledAt = performance.now();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #resendTimer: ReturnType<typeof setTimeout> | undefined;
  #resendTimerAt = 0;

  constructor(
    newest: (id: string) => Report | null,
    options: Partial<ReportQueueOptions> = {},
    random: () => number = Math.random,
  ) {
    this.#newest = newest;
    this.#random = random;
    this.#options = { ...WORDS_DEFAULTS, ...options };
    this.#tokens = this.#options.burst;
  }

  /** A session is open: everything in `ids` is reported again. */
  attach(link: Link, ids: Iterable<string>): void {
    this.detach();
    this.#link = link;
    for (const id of ids) this.#repeats.add(id);
    this.#flush();
  }

  detach(): void {
    this.#link = null;
    this.#news.clear();
    this.#repeats.clear();
    this.#resend.clear();
    for (const id of this.#held.keys()) this.#release(id);
    clearTimeout(this.#timer);
    clearTimeout(this.#resendTimer);
    this.#timer = undefined;
    this.#resendTimer = undefined;
  }

  /** There is news about this execution; while offline, the next `attach` reports it. */
  say(id: string): void {
    // Only a result is worth more than the acknowledgement that is about to be sent.
    if (!this.#link || (this.#held.has(id) && this.#newest(id)?.t !== 'end')) return;
    this.#release(id);
    this.#repeats.delete(id);
    this.#news.add(id);
    this.#flush();
  }

  /** Acknowledges it in a moment, unless its result comes first (D-3). */
  acknowledge(id: string): void {
    if (!this.#link) return;
    this.#held.set(
      id,
      setTimeout(() => this.#acknowledgeNow(id), this.#options.ackAfterMs),
    );
  }

  /** Acknowledges now what waits for a result. */
  acknowledgeAll(): void {
    for (const id of this.#held.keys()) this.#acknowledgeNow(id);
  }

  /**
   * An answer that is not remembered: sent now or, if the queue is too long, not at all (the server asks
   * again).
   */
  sayOnce(report: Report): void {
    if (this.#link && this.#take()) this.#link.send(report);
  }

  forget(id: string): void {
    this.#news.delete(id);
    this.#repeats.delete(id);
    this.#resend.delete(id);
  }

  /** The gateway had no room for this result. */
  keep(id: string, retryMs: number): void {
    if (!this.#link) return;
    const dueAt = performance.now() + retryMs * (1 + this.#random());
    // Half of it: if the repetition brings no answer, the next pause is the first one of R-5.
    this.#resend.set(id, { dueAt, pauseMs: this.#options.resendAfterMs / 2 });
    this.#repeatAt(dueAt);
  }

  /** A gateway may drop progress, so it does not stand for the acknowledgement. */
  #acknowledgeNow(id: string): void {
    this.#release(id);
    if (this.#newest(id)?.t === 'progress') this.sayOnce({ t: 'ack', id });
    this.say(id);
  }

  #release(id: string): void {
    clearTimeout(this.#held.get(id));
    this.#held.delete(id);
  }

  #take(): boolean {
    const { framesPerSecond, burst } = this.#options;
    const now = performance.now();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filledAt) / 1000) * framesPerSecond);
    this.#filledAt = now;
    if (this.#tokens < 1 || (this.#link?.bufferedBytes ?? 0) > BUFFERED_MAX) return false;
    this.#tokens--;
    return true;
  }

  #flush(): void {
    if (this.#timer || !this.#link) return;
    for (const queue of [this.#news, this.#repeats]) {
      for (const id of queue) {
        const report = this.#newest(id);
        if (report && !this.#take()) {
          this.#timer = setTimeout(() => {
            this.#timer = undefined;
            this.#flush();
          }, 100);
          return;
        }
        queue.delete(id);
        if (!report) continue;
        this.#link.send(report);
        if (report.t === 'end') this.#said(id);
      }
    }
  }

  #said(id: string): void {
    const { resendAfterMs } = this.#options;
    const before = this.#resend.get(id);
    const pauseMs = before ? Math.min(RESEND_CAP_MS, before.pauseMs * 2) : resendAfterMs;
    this.#resend.set(id, { dueAt: performance.now() + pauseMs, pauseMs });
    if (!this.#resendTimer) this.#repeatAt(performance.now() + resendAfterMs);
  }

  #repeatAt(at: number): void {
    if (this.#resendTimer && this.#resendTimerAt <= at) return;
    clearTimeout(this.#resendTimer);
    this.#resendTimerAt = at;
    this.#resendTimer = setTimeout(() => this.#repeat(), Math.max(0, at - performance.now()));
  }

  #repeat(): void {
    this.#resendTimer = undefined;
    const now = performance.now();
    let next = now + this.#options.resendAfterMs / 4;
    for (const [id, { dueAt }] of this.#resend) {
      if (dueAt <= now) this.#repeats.add(id);
      // A timer set in a long turn of the event loop comes early: it counts from the turn's beginning.
      else next = Math.min(next, dueAt);
    }
    if (this.#resend.size > 0) this.#repeatAt(Math.max(now + 10, next));
    this.#flush();
  }
}
