import { type Beat, COMPLIANCE, type Compliance, LIMITS } from '../../protocol/index.ts';
import type { Nearness } from '../gateways/nearness.ts';
import { clip } from '../platform/clip.ts';

/** What a device says about itself with its heartbeats (B-1). */
export interface DeviceStatus {
  /** Revision of the policy in force, at most 64 characters. */
  policy?: string;
  compliance?: Compliance;
}

/** Refuses a status for which a gateway would close the connection. Throws `TypeError`. */
export function checkStatus({ policy, compliance }: DeviceStatus): void {
  if (policy !== undefined && (typeof policy !== 'string' || clip(policy, LIMITS.policyLength) !== policy)) {
    throw new TypeError(`policy must be text of at most ${LIMITS.policyLength} characters`);
  }
  if (compliance !== undefined && !COMPLIANCE.includes(compliance)) {
    throw new TypeError(`compliance must be one of ${COMPLIANCE.join(', ')}`);
  }
}

/** Unanswered beats after which a connection is lost (B-3). */
const UNANSWERED_MAX = 2;
/** Pause between beats that only report a change, milliseconds. */
const EARLY_EVERY_MS = 1_000;

export class Heartbeat {
  readonly #send: (beat: Beat) => void;
  readonly #lost: () => void;
  readonly #news: Nearness['news'] | undefined;
  #status: DeviceStatus = {};
  #intervalMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #earlyTimer: ReturnType<typeof setTimeout> | undefined;
  #earlyAt = 0;
  #asksPass = false;
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
    if (Object.keys(this.#status).length > 0 || this.#news?.urgent) this.#early();
  }

  stop(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#earlyTimer);
    clearTimeout(this.#verifyTimer);
    this.#timer = undefined;
    this.#earlyTimer = undefined;
    this.#verifyTimer = undefined;
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

  /** Sent with every beat from now on, and soon if it changed. */
  status(status: DeviceStatus): void {
    const next = { ...this.#status, ...status };
    const changed = next.policy !== this.#status.policy || next.compliance !== this.#status.compliance;
    this.#status = next;
    if (changed && this.#timer) this.#early();
  }

  /** Asks for the gateway's pass, soon (S-9). */
  askPass(): void {
    this.#asksPass = true;
    if (this.#timer) this.#early();
  }

  /** There may be new measurements to report. */
  news(): void {
    if (this.#news?.urgent && this.#timer) this.#early();
  }

  #beat(): void {
    const measured = this.#news?.take();
    const asks = this.#asksPass && { pass: true as const };
    this.#asksPass = false;
    this.#send({ t: 'beat', ...this.#status, ...(measured && { measured }), ...asks });
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
